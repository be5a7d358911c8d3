-- Batches of a data set, epoch by epoch. Order and random transforms depend only on the seed, the epoch and the row, so
-- that any epoch can be run again, or continued from any batch, with the same pictures, by any number of workers.
local core = require "pelk.core"
local options = require "pelk.options"

local Loader = {}
Loader.__index = Loader
Loader.__name = "pelk.Loader"

local rules = {
  batch = { "integer", 128, 1 },
  shuffle = { "boolean", false },
  seed = { "integer", 0 },
  transforms = { "table" },
  drop_last = { "boolean", false },
  workers = { "integer", nil, 0 },
  prefetch = { "integer", 2, 0 },
  mixup = { "table" },
  dtype = { "string", "float32" },
}

-- What is wanted of the data set and of the mixup, checked before the first epoch.
local function check(o, ds)
  if o.dtype ~= "float32" and o.dtype ~= "uint8" then
    options.raise(("loader: dtype must be float32 or uint8, got %s"):format(o.dtype))
  end
  if o.mixup and (type(o.mixup.apply) ~= "function" or not ds.y or o.dtype ~= "float32") then
    options.raise("loader: mixup must be a data.mixup{...}, and wants labels and float32 batches")
  end
end

-- batch = 128, shuffle = false, seed = 0, drop_last = false;
-- transforms: a list; without it bytes become floats of 0 to 1; an empty list leaves them 0 to 255;
-- workers: threads that decode and transform ahead (default: for files as many as the library uses, otherwise 0: a
-- batch is assembled by the library's threads when it is asked for); prefetch = 2: how many batches further they may
-- be; mixup: data.mixup{...}, labels become soft targets; dtype = "float32" or "uint8" (transforms must keep bytes).
function Loader.new(ds, given)
  if type(ds) ~= "table" or not ds.source then error("loader: the first argument must be a data set", 2) end
  local o = options.read("loader", given, rules)
  check(o, ds)
  local source = ds:source()
  if not o.transforms then
    local bytes = not ds.x or ds.x:dtype() == "uint8"
    o.transforms = bytes and o.dtype == "float32" and { core.transform("to_float") } or {}
  end
  local bytes = o.dtype == "uint8"
  local item = options.call(core.batch_shape, source, o.transforms, bytes) -- what does not fit is an error now
  return setmetatable({ ds = ds, batch = o.batch, shuffle = o.shuffle, seed = o.seed, transforms = o.transforms,
    drop_last = o.drop_last, classes = ds.classes, next_epoch = 1, item = item, bytes = bytes, mixup = o.mixup,
    workers = o.workers or (ds.x and 0 or core.threads()), prefetch = o.prefetch, wait_seconds = 0.0,
    broken = {}, seen_broken = {} }, Loader)
end

-- How many batches an epoch has; or one of n items.
function Loader:batches(n)
  n = n or self.ds:size()
  return n // self.batch + (not self.drop_last and n % self.batch > 0 and 1 or 0)
end

function Loader:__len() return self:batches() end

-- How many items an epoch has; or one of n, when all its batches must be full.
function Loader:size(n)
  n = n or self.ds:size()
  return self.drop_last and self:batches(n) * self.batch or n
end

-- Shape of a full batch.
function Loader:shape()
  if not self.ds.x or self.ds.x:dim() == 4 then return { self.batch, table.unpack(self.item) } end
  return { self.batch, table.unpack(self.ds:shape()) }
end

local function check_number(what, n, least)
  local number = math.tointeger(n)
  if not number or number < least then
    error(("loader: %s must be an integer from %d on, got %s"):format(what, least, tostring(n)), 3)
  end
  return number
end

-- What a feed left out, each file once: loader.broken is a list of {path=, message=}.
local function note_broken(self, feed, known)
  local list = feed:broken(known)
  for _, entry in ipairs(list) do
    local row, message = entry[1], entry[2]
    if not self.seen_broken[row] then
      self.seen_broken[row] = true
      self.broken[#self.broken + 1] = { path = self.ds.files and self.ds.files:path(row), message = message }
      io.stderr:write(("loader: left out: %s\n"):format(message))
    end
  end
  return known + #list
end

-- for x, y, number in loader:epoch(n, start_batch): that epoch, from that batch on (1 by default). A picture that
-- cannot be read raises, or is left out of its batch (data.image_folder's broken). wait_seconds grows by the time spent
-- waiting. rows (int32, of the pictures' source): what the epoch is made of, in this order, instead of the data set.
function Loader:epoch(n, start_batch, rows)
  n = check_number("epoch", n, 0)
  local first = check_number("start_batch", start_batch or 1, 1) - 1
  local ds = self.ds
  rows = rows or core.epoch_order(ds.rows or ds.n, self.shuffle, self.seed, n)
  local feed = core.feed(ds:source(), ds.y, rows, self.transforms, self.batch, first, self.drop_last, self.seed, n,
    self.workers, self.prefetch, ds.broken == "skip", self.bytes)
  local known, over = 0, false
  local function step()
    if over then return nil end
    local began = core.clock()
    local x, y, number = feed:next()
    self.wait_seconds = self.wait_seconds + core.clock() - began
    if ds.broken == "skip" then known = note_broken(self, feed, known) end
    if not x then
      over = true
      feed:free()
      if y then error("loader: " .. y, 2) end
      return nil
    end
    if self.mixup then y = self.mixup:apply(x, y, self.seed, n, number) end
    return x, y, number
  end
  return step, nil, nil, feed
end

-- Which epoch the next loader() runs; each loader() goes one further.
function Loader:set_epoch(n) self.next_epoch = check_number("epoch", n, 0) end

-- for x, y in loader() do ... end
function Loader:__call(...)
  if select("#", ...) > 0 then error("loader: a loop needs its brackets: for x, y in loader() do", 2) end
  local n = self.next_epoch
  self.next_epoch = n + 1
  return self:epoch(n)
end

-- "loader: 4 batches of 8 (...), shuffled, 2 workers, hflip{p=0.5}"
function Loader:__tostring()
  local steps = {}
  for i, transform in ipairs(self.transforms) do steps[i] = tostring(transform) end
  if self.mixup then steps[#steps + 1] = tostring(self.mixup) end
  return ("loader: %d batches of %d (%s), %s%s%s%s"):format(self:batches(), self.batch, tostring(self.ds),
    self.shuffle and "shuffled" or "in order", self.workers > 0 and (", %d workers"):format(self.workers) or "",
    #steps > 0 and ", " or "", table.concat(steps, ", "))
end

return Loader
