--- How many connections each layer begins with: uniform, Erdős-Rényi-kernel, or counts that SNIP gave.
-- A layer is a row {name, shape, total, live} as core gives it; a density a number in (0, 1].
local density = {}

--- Sum and product of the shape that PyTorch has of it: (C,1,k,k) for the {k,k,C} of a depthwise kernel.
local function dims(layer)
  local sum, product = #layer.shape == 3 and 1 or 0, 1
  for _, n in ipairs(layer.shape) do sum, product = sum + n, product * n end
  return sum, product
end

--- Every layer the same.
function density.uniform(layers, d)
  local out = {}
  for i = 1, #layers do out[i] = d end
  return out
end

--- Erdős-Rényi-kernel (Mocanu et al. 2018; Evci et al. 2020, appendix): density in proportion to (sum of the shape) /
-- (product of the shape), scaled so that the whole has density d. Layers that would exceed 1 are dense, and the rest is
-- scaled anew.
function density.erk(layers, d)
  local raw, dense, scale = {}, {}, 0
  for i, layer in ipairs(layers) do
    local sum, product = dims(layer)
    raw[i] = sum / product
  end
  while true do
    local wanted, weight, most = 0, 0, nil
    for i, layer in ipairs(layers) do
      if dense[i] then
        wanted = wanted - layer.live * (1 - d)
      else
        wanted = wanted + layer.live * d
        weight = weight + raw[i] * layer.live
        if not most or raw[i] > raw[most] then most = i end
      end
    end
    if not most then break end
    scale = wanted / weight
    if raw[most] * scale <= 1 then break end
    local largest = raw[most]
    for i = 1, #layers do dense[i] = dense[i] or raw[i] == largest end
  end
  local out = {}
  for i = 1, #layers do out[i] = dense[i] and 1 or raw[i] * scale end
  return out
end

--- Densities to whole numbers, at least one a layer; together the nearest whole number to their sum: what is left over
-- after rounding down goes to the largest fractions.
function density.counts(layers, densities)
  local counts, order, given, wanted = {}, {}, 0, 0
  for i, layer in ipairs(layers) do
    local exact = densities[i] * layer.live
    counts[i] = math.min(layer.live, math.max(1, exact // 1 | 0))
    order[i] = { i, exact - counts[i] }
    given, wanted = given + counts[i], wanted + exact
  end
  table.sort(order, function(a, b) return a[2] > b[2] or (a[2] == b[2] and a[1] < b[1]) end)
  local left = math.floor(wanted + 0.5) - given
  for _, entry in ipairs(order) do
    local i = entry[1]
    if left > 0 and counts[i] < layers[i].live then counts[i], left = counts[i] + 1, left - 1 end
  end
  return counts
end

return density
