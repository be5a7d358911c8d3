--- The modes (training or evaluation) of every module of a tree.
local modes = {}

--- Note them.
-- @tparam Module m
-- @treturn function that puts them back
function modes.keep(m)
  local noted = {}
  for _, module in m:modules() do noted[#noted + 1] = { module, module.training } end
  return function()
    for _, entry in ipairs(noted) do entry[1]:train(entry[2]) end -- parents first: a mode goes down the tree
  end
end

--- The modules that are in evaluation mode, parents first: what to put back after m:train().
function modes.evaluating(m)
  local out = {}
  for _, module in m:modules() do if not module.training then out[#out + 1] = module end end
  return out
end

return modes
