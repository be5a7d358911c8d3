-- A data set: pictures (or features) as a tensor or as files, labels as a tensor, perhaps only some of their rows.
local core = require "pelk.core"
local options = require "pelk.options"

local Set = {}
Set.__index = Set
Set.__name = "pelk.Set"

local function is_tensor(t, dtypes)
  local ok, dtype = pcall(function() return t:dtype() end)
  return type(t) == "userdata" and ok and dtypes:find(dtype, 1, true) ~= nil
end

-- x: uint8 or float32 {N,...}; y: labels int32 {N}, or any targets of N rows, or nil. classes: list of names.
function Set.new(x, y, more)
  more = options.read("data.tensors", more, { classes = { "table" }, name = { "string", "tensors" } })
  if not is_tensor(x, "uint8 float32") then error("data.tensors: x must be a uint8 or float32 pelk.Tensor", 2) end
  if y ~= nil and not is_tensor(y, "uint8 float32 int32") then error("data.tensors: y must be a pelk.Tensor", 2) end
  if x:dim() == 0 or x:size(1) == 0 then error("data.tensors: x has no rows", 2) end
  if y ~= nil and (y:dim() == 0 or y:size(1) ~= x:size(1)) then
    error(("data.tensors: x has %d rows, y %d"):format(x:size(1), y:dim() > 0 and y:size(1) or 0), 2)
  end
  return setmetatable({ x = x:contiguous(), y = y and y:contiguous(), n = x:size(1), classes = more.classes,
    name = more.name }, Set)
end

-- Pictures in files: a pelk.Files, labels int32 {N}. more: classes, name, broken ("stop" or "skip").
function Set.of_files(files, y, more)
  return setmetatable({ files = files, y = y, n = files:count(), classes = more.classes, name = more.name,
    broken = more.broken, files_options = more.files_options }, Set)
end

-- Where the pictures are: what core.feed takes.
function Set:source() return self.x or self.files end

-- How many items; #set too.
function Set:size() return self.n end
function Set:__len() return self.n end

-- The row of x and y that item i is.
function Set:row(i)
  local index = math.tointeger(i)
  if not index or index < 1 or index > self.n then
    error(("item %s, the data set has 1 to %d"):format(tostring(i), self.n), 2)
  end
  return self.rows and self.rows[index]:item() or index
end

-- Item i as it is: picture (of a file: uint8, upright, at its own size), label (a number for int32 labels, else a
-- tensor); nil, message when the file cannot be read.
function Set:get(i)
  local row = self:row(i)
  local picture, message
  if self.x then picture = self.x[row] else picture, message = self.files:decode(row) end
  if not picture then return nil, message end
  if not self.y then return picture end
  local label = self.y[row]
  return picture, label:dim() == 0 and label:item() or label
end

-- The path of item i; nil when the pictures are no files.
function Set:path(i)
  local row = self:row(i)
  return self.files and self.files:path(row) or nil
end

-- Shape of one item; nil for files, whose pictures may differ.
function Set:shape()
  if not self.x then return nil end
  return { table.unpack(self.x:shape(), 2) }
end

local function with_rows(self, rows, name)
  return setmetatable({ x = self.x, files = self.files, y = self.y, n = rows:size(1), rows = rows,
    classes = self.classes, name = name, broken = self.broken, files_options = self.files_options }, Set)
end

-- ---- classes ----

-- How many items each class has: a list, one number a class.
function Set:class_counts()
  if not self.y or self.y:dtype() ~= "int32" or self.y:dim() ~= 1 then
    error("class_counts: the labels are no int32 {N}", 2)
  end
  local labels, counts = self.y:flat(), {}
  local function count(label) counts[label] = (counts[label] or 0) + 1 end
  if self.rows then
    for _, row in ipairs(self.rows:flat()) do count(labels[row]) end
  else
    for _, label in ipairs(labels) do count(label) end
  end
  local classes = self.classes and #self.classes or 0
  for label in pairs(counts) do classes = math.max(classes, label) end
  for label = 1, classes do counts[label] = counts[label] or 0 end
  return counts
end

-- Weights that make classes count alike: float32 {classes}, n / (classes with items * items of the class), 0 for a
-- class without; their mean over the items is 1. ops.cross_entropy, data.soft_targets and pelk.train's loss.weight take
-- them.
function Set:class_weights()
  local counts, weights, present = self:class_counts(), {}, 0
  for _, count in ipairs(counts) do present = present + (count > 0 and 1 or 0) end
  for label, count in ipairs(counts) do weights[label] = count > 0 and self.n / (present * count) or 0.0 end
  return core.tensor(weights, { #weights })
end

-- Rows as int32 {n}, in an order of their own; nothing else is copied.
local function order(self, shuffle, seed) return core.epoch_order(self.rows or self.n, shuffle, seed, 0) end

-- The items of a list of indices.
function Set:subset(list)
  if type(list) ~= "table" or #list == 0 then error("subset: wants a list of indices", 2) end
  local rows = {}
  for i, index in ipairs(list) do rows[i] = self:row(index) end
  return with_rows(self, core.tensor(rows, { #rows }, { dtype = "int32" }), self.name)
end

-- The first n items.
function Set:take(n)
  local count = math.tointeger(n)
  if not count or count < 1 or count > self.n then
    error(("take: %s items, the data set has %d"):format(tostring(n), self.n), 2)
  end
  return with_rows(self, order(self, false, 0):narrow(1, 1, count), self.name)
end

-- Two data sets: a random part of the items, and the others. The same for the same seed.
function Set:split(fraction, seed)
  if type(fraction) ~= "number" or not (fraction > 0 and fraction < 1) then
    error(("split: the fraction must lie between 0 and 1, got %s"):format(tostring(fraction)), 2)
  end
  local count = math.floor(self.n * fraction + 0.5)
  if count < 1 or count >= self.n then
    error(("split: %g of %d items leaves one side empty"):format(fraction, self.n), 2)
  end
  local rows = order(self, true, seed or 0)
  return with_rows(self, rows:narrow(1, 1, count), self.name),
    with_rows(self, rows:narrow(1, count + 1, self.n - count), self.name)
end

function Set:__tostring()
  local classes = self.classes and (", %d classes"):format(#self.classes) or ""
  if not self.x then return ("%s: %d files%s"):format(self.name, self.n, classes) end
  local shape = table.concat(self:shape(), ",")
  return ("%s: %d items of {%s} %s%s"):format(self.name, self.n, shape, self.x:dtype(), classes)
end

return Set
