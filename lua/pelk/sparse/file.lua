--- Compact files of sparse weights: safetensors in which a sparse weight X is X.bits (one bit a weight, row-major in
-- PyTorch's layout, bit i % 8 of byte i // 8) and X.values (the weights whose bit is 1, in order); all else is as in a
-- plain file. Metadata: format "pelk.sparse 1", shapes (JSON).
local core = require("pelk.core")
local json = require("pelk.json")

local file = {}

--- Write all parameters and buffers, those with masks in the compact form. Active weights that are zero stay active.
-- Weights without a mask of which at least a tenth is zero are compact too.
-- @tparam Module model
-- @string path written beside and renamed
-- @tab[opt] metadata strings by string
-- @treturn boolean true, or nil, message
function file.save(model, path, metadata)
  local masks, tensors, shapes = core.module_masks(model), {}, {}
  for name, t in pairs(core.module_state(model)) do
    local mask, bits, values = masks[name], nil, nil
    if mask or (name:find("weight$") and t:dim() > 1) then bits, values = core.sparse_pack(t, mask) end
    if mask or (bits and values:numel() <= 0.9 * t:numel()) then
      shapes[name] = t:shape()
      tensors[#tensors + 1] = { name .. ".bits", bits }
      tensors[#tensors + 1] = { name .. ".values", values }
    else
      tensors[#tensors + 1] = { name, t }
    end
  end
  local about = { format = "pelk.sparse 1", shapes = json.encode(shapes) }
  for k, v in pairs(metadata or {}) do about[k] = about[k] or v end
  return core.save_tensors(path, tensors, about)
end

--- Weights and masks of a compact file, in PyTorch's layouts. A plain safetensors file has no masks.
-- @string path
-- @treturn table {name = tensor}, or nil, message
-- @treturn table {name = uint8 tensor}
function file.read(path)
  local loaded, metadata = core.load_tensors(path)
  if not loaded then return nil, metadata end
  local tensors, masks = {}, {}
  for name, t in pairs(loaded) do tensors[name] = t end
  if not metadata or metadata.format ~= "pelk.sparse 1" then return tensors, masks end
  local ok, shapes = pcall(json.decode, metadata.shapes or "")
  if not ok or type(shapes) ~= "table" then return nil, path .. ": its list of shapes cannot be read" end
  for name, shape in pairs(shapes) do
    local bits, values = tensors[name .. ".bits"], tensors[name .. ".values"]
    if not bits or not values then return nil, ("%s: the bits or values of %s are missing"):format(path, name) end
    local good, t, mask = pcall(core.sparse_unpack, bits, values, shape)
    if not good or not t then return nil, ("%s: %s: %s"):format(path, name, good and mask or t) end
    tensors[name], masks[name] = t, mask
    tensors[name .. ".bits"], tensors[name .. ".values"] = nil, nil
  end
  return tensors, masks
end

--- Read a compact (or plain) file into a model. Masks are not attached: attach with init = "resume" does that.
-- @tparam Module model
-- @string path
-- @tab[opt] given strict=true
-- @treturn boolean true, or nil, message (the model is unchanged then)
function file.load(model, path, given)
  local tensors, message = file.read(path)
  if not tensors then return nil, message end
  local ok, why = pcall(core.module_set_state, model, tensors, given)
  if not ok then return nil, path .. ": " .. why end
  return true
end

return file
