--- Scalars for TensorBoard: event files (TFRecord frames of protobuf messages), written here without TensorFlow.
-- A frame is: length (uint64), masked CRC-32C of it, data, masked CRC-32C of the data. An Event holds wall_time (1,
-- double), step (2, int64) and file_version (3, string) or summary (5); a Summary's value (1) holds tag (1, string) and
-- simple_value (2, float).
-- @module pelk.train.tensorboard

local core = require("pelk.core")

local Writer = {}
Writer.__index = Writer

local function varint(n)
  local bytes = {}
  repeat
    local low = n & 0x7f
    n = n >> 7
    bytes[#bytes + 1] = string.char(n ~= 0 and low | 0x80 or low)
  until n == 0
  return table.concat(bytes)
end

local function field(number, wire, payload) return varint(number << 3 | wire) .. payload end
local function text(number, s) return field(number, 2, varint(#s) .. s) end

local function masked(bytes)
  local crc = core.crc32c(bytes)
  return string.pack("<I4", ((crc >> 15 | crc << 17) + 0xa282ead8) & 0xffffffff)
end

local function frame(data)
  local length = string.pack("<I8", #data)
  return length .. masked(length) .. data .. masked(data)
end

local function event(step, payload)
  return frame(field(1, 1, string.pack("<d", os.time())) .. field(2, 0, varint(step)) .. payload)
end

--- A new event file in a folder, which is made when missing.
-- @treturn Writer or nil, message
function Writer.open(dir)
  local ok, message = core.make_dir(dir)
  if not ok then return nil, message end
  local number, path, taken = 0
  repeat
    path = ("%s/events.out.tfevents.%010d.pelk.%d"):format(dir, os.time(), number)
    taken = io.open(path, "rb")
    if taken then taken:close() end
    number = number + 1
  until not taken
  local file
  file, message = io.open(path, "wb")
  if not file then return nil, message end
  ok, message = file:write(event(0, text(3, "brain.Event:2")))
  if not ok then return nil, message end
  return setmetatable({ file = file, path = path }, Writer)
end

--- Scalars by tag at a step; what is no number is passed over.
-- @treturn boolean true, or nil, message
function Writer:add(step, scalars)
  local tags, values = {}, {}
  for tag, value in pairs(scalars) do
    if type(value) == "number" then tags[#tags + 1] = tag end
  end
  table.sort(tags)
  for i, tag in ipairs(tags) do
    values[i] = text(1, text(1, tag) .. field(2, 5, string.pack("<f", scalars[tag])))
  end
  if #tags == 0 then return true end
  local ok, message = self.file:write(event(step, text(5, table.concat(values))))
  if not ok then return nil, message end
  return self.file:flush()
end

function Writer:close() self.file:close() end

return Writer
