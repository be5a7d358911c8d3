-- Batches of a data set, epoch by epoch. Order and random transforms depend only on the seed, the epoch and the row, so
-- that any epoch can be run again, or continued from any batch, with the same pictures.
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
  workers = { "integer", 0, 0 },
}

-- A batch is always assembled by all threads of the library when it is asked for: `workers` changes nothing.
-- Without transforms, bytes become floats of 0 to 1; an empty list leaves them 0 to 255.
function Loader.new(ds, given)
  if type(ds) ~= "table" or not ds.x then error("loader: the first argument must be a data set", 2) end
  local o = options.read("loader", given, rules)
  if not o.transforms then
    o.transforms = ds.x:dtype() == "uint8" and { core.transform("to_float") } or {}
  end
  local item = options.call(core.batch_shape, ds.x, o.transforms) -- what does not fit is an error now, not in an epoch
  return setmetatable({ ds = ds, batch = o.batch, shuffle = o.shuffle, seed = o.seed, transforms = o.transforms,
    drop_last = o.drop_last, classes = ds.classes, next_epoch = 1, item = item }, Loader)
end

-- How many batches an epoch has.
function Loader:batches()
  local n = self.ds:size()
  return self.drop_last and n // self.batch or (n + self.batch - 1) // self.batch
end

Loader.__len = Loader.batches

-- How many items an epoch has.
function Loader:size() return self.drop_last and self:batches() * self.batch or self.ds:size() end

-- Shape of a full batch.
function Loader:shape()
  if self.ds.x:dim() == 4 then return { self.batch, table.unpack(self.item) } end
  return { self.batch, table.unpack(self.ds:shape()) }
end

local function check_number(what, n, least)
  local number = math.tointeger(n)
  if not number or number < least then
    error(("loader: %s must be an integer from %d on, got %s"):format(what, least, tostring(n)), 3)
  end
  return number
end

-- for x, y, number in loader:epoch(n, start_batch): that epoch, from that batch on (1 by default).
function Loader:epoch(n, start_batch)
  n = check_number("epoch", n, 0)
  local number = check_number("start_batch", start_batch or 1, 1) - 1
  local ds, batches = self.ds, self:batches()
  local rows = core.epoch_order(ds.rows or ds.n, self.shuffle, self.seed, n)
  return function()
    if number >= batches then return nil end
    number = number + 1
    local first = (number - 1) * self.batch + 1
    local count = math.min(self.batch, ds.n - first + 1)
    local x, y = core.batch(ds.x, ds.y, rows, first, count, self.transforms, self.seed, n)
    return x, y, number
  end
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

-- "loader: 4 batches of 8 (...), shuffled, hflip{p=0.5}"
function Loader:__tostring()
  local steps = {}
  for i, transform in ipairs(self.transforms) do steps[i] = tostring(transform) end
  return ("loader: %d batches of %d (%s), %s%s%s"):format(self:batches(), self.batch, tostring(self.ds),
    self.shuffle and "shuffled" or "in order", #steps > 0 and ", " or "", table.concat(steps, ", "))
end

return Loader
