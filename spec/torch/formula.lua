--- The formula of formula.py: weights and inputs that need no file.
local pelk = require("pelk")

local formula = {}

--- n numbers in [0, 1), multiples of 2^-24: FNV-1a of the name, then splitmix64 of the place.
function formula.uniform(name, n)
  local h = 0xCBF29CE484222325
  for i = 1, #name do h = (h ~ name:byte(i)) * 0x100000001B3 end
  local list = {}
  for i = 1, n do
    local x = h + i * 0x9E3779B97F4A7C15
    x = (x ~ (x >> 30)) * 0xBF58476D1CE4E5B9
    x = (x ~ (x >> 27)) * 0x94D049BB133111EB
    x = x ~ (x >> 31)
    list[i] = (x >> 40) * 2.0 ^ -24
  end
  return list
end

--- What the parameter, buffer or input `name` of that shape (PyTorch's) holds.
function formula.values(name, shape)
  local n, outputs = 1, shape[1]
  for _, size in ipairs(shape) do n = n * size end
  local list = formula.uniform(name, n)
  local factor, offset = 0.5, -0.25
  if name:find("running_var$") or name:find("gamma$") or (name:find("weight$") and #shape == 1) then
    factor, offset = 1, 0.5
  elseif name:find("weight$") then
    local scale = math.sqrt(3 / (n / outputs))
    for i = 1, n do list[i] = (2 * list[i] - 1) * scale end
    factor, offset = 1, 0
  elseif name == "x" then
    factor, offset = 3.5, -1.75
  end
  for i = 1, n do list[i] = factor * list[i] + offset end
  return pelk.tensor(list, shape)
end

--- Fill all parameters and buffers of a module.
function formula.fill(m)
  pelk.no_grad(function()
    for name, t in pairs(m:state_dict()) do t:copy_(formula.values(name, t:shape())) end
  end)
  return m
end

--- The product of t (in PyTorch's layout) with a fixed pattern, over the root of its size.
function formula.dot(name, t)
  local flat, sum = t:contiguous():flat(), 0
  local pattern = formula.uniform(name .. ".pattern", #flat)
  for i = 1, #flat do sum = sum + (2 * pattern[i] - 1) * flat[i] end
  return sum / math.sqrt(#flat)
end

return formula
