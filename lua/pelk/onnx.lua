--- Export to ONNX (opset 17).
local core = require("pelk.core")
local options = require("pelk.options")

local rules = {
  image_size = { "integer|table", 224 },
  shape = { "table" },
  dynamic_batch = { "boolean", false },
  layout = { "string", "nchw" },
}

--- Channels that a model takes: its own option, or the first one in the tree.
local function channels_of(m)
  for _, part in ipairs(m:modules()) do
    local own = part.module:options()
    local n = own.in_channels or own.channels
    if n and n > 0 then return n end
  end
  return 3
end

--- The shape of one input, without its batch.
local function input_shape(m, o)
  if o.shape then return o.shape end
  local size = o.image_size
  if type(size) == "table" then return { size[1], size[2], channels_of(m) } end
  return { size, size, channels_of(m) }
end

--- Write a model as an ONNX file (opset 17) for other runtimes: input "input", output "output". One forward is traced
-- op by op, so any tree of modules can be exported, merged or not, Lua functions in it too; what they do without ops is
-- taken for constant. Peripheral kernels become dense ones, position maps a bias map of the image size. The model is
-- exported as it is in evaluation, and left as it was.
-- @tparam Module m
-- @string path written beside and renamed
-- @tab[opt] given image_size=224 (n or {h, w}); dynamic_batch=false: true leaves the batch open, else it is 1;
-- layout="nchw"|"nhwc" of images in the file; shape={...} of one input instead, in pelk's order and without the batch
-- @treturn boolean true, or nil, message, when the file cannot be written
-- @raise for ops that have no form in ONNX, naming layer and op
-- @usage assert(pelk.export_onnx(model, "model.onnx", { image_size = 224, dynamic_batch = true }))
return function(m, path, given)
  options.check_module("export_onnx", m)
  if type(path) ~= "string" then options.raise("export_onnx: the path must be a string, got " .. type(path)) end
  local o = options.read("export_onnx", given, rules)
  local x = options.call(core.zeros, { 1, table.unpack(input_shape(m, o)) })
  return options.call(core.export_onnx, m, path, x, { dynamic_batch = o.dynamic_batch, layout = o.layout })
end
