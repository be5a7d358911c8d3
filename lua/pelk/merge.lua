--- Structural re-parameterisation for inference: m:merge().
local core = require("pelk.core")
local options = require("pelk.options")

local Report = {}

--- Rows of one kind, their texts and how often each occurred: "18 x batch norm into conv".
local function gather(report, kind)
  local order, count = {}, {}
  for _, row in ipairs(report) do
    if row.kind == kind then
      if not count[row.text] then order[#order + 1] = row.text end
      count[row.text] = (count[row.text] or 0) + 1
    end
  end
  return order, count
end

function Report.__tostring(report)
  if #report == 0 then return "nothing to merge" end
  local lines, width = {}, 0
  for _, row in ipairs(report) do width = math.max(width, #row.path) end
  for _, row in ipairs(report) do
    lines[#lines + 1] = ("%-9s %-" .. width .. "s  %s"):format(row.kind, row.path, row.text)
  end
  for _, kind in ipairs({ "folded", "merged", "refined", "expanded", "kept" }) do
    local order, count = gather(report, kind)
    for _, text in ipairs(order) do lines[#lines + 1] = ("%s %d x %s"):format(kind, count[text], text) end
  end
  return table.concat(lines, "\n")
end

--- Re-parameterise a trained model for inference, in place: batch norms go into the convolutions and linear layers
-- beside them, parallel branches of a large kernel into one, position maps into biases or a bias map. What it computes
-- in evaluation stays the same to rounding; the model is in evaluation mode afterwards. It can be saved, cloned,
-- exported and trained on (make its optimiser after merging: parameters are new).
-- A peripheral kernel stays shared when its fine centre holds the small kernel, and is expanded otherwise.
-- @tparam Module m any tree of modules
-- @tab[opt] given slak="auto"|"dense"|"stripe": crossed stripes as one dense kernel, as two stripes, or as whichever
-- has less to do; expand="dense"|"refine": a peripheral kernel whose fine centre does not hold the small kernel gets
-- one weight a tap, or a grid just fine enough; batch_norms=true: false merges only the branches of large kernels
-- @treturn Module m itself
-- @treturn table report, prints: a list of {kind, path, text}, kind "folded", "merged", "refined", "expanded" or "kept"
-- @raise when m has been merged before, or one module has two places in it
-- @usage local m, report = pelk.models.create("pelk_tiny"):merge()
return function(m, given)
  options.check_module("merge", m)
  return m, setmetatable(options.call(core.module_merge, m, given), Report)
end
