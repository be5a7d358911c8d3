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

return modes
