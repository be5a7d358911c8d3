--- Sharing grids by name: those that the PeLK paper's ablations print (arXiv 2403.07589, Tables 5 and 6).
--
-- `grid = "table5_4"` in models.create, one name or one a stage; `pelk.grids.table5_4` is the list itself, for ops and
-- layers. table5_1 to table5_6 are the rows #1 to #6 of Table 5, partitions of 33: all ones, twos round one tap, twos
-- round 5 taps, three fours, the exponential one that PeLK takes, and that one inside out. table6_1x1 to table6_7x7 are
-- the fine centres of Table 6, partitions of 51.
-- @module pelk.grids
local options = require("pelk.options")
local show = require("pelk.show")

--- {2,1} as the half from the outside to the centre -> {2,1,2}.
local function whole(half)
  local list, n = {}, 2 * #half - 1
  for i = 1, n do list[i] = half[math.min(i, n + 1 - i)] end
  return show.row(list)
end

local function times(n, width, rest)
  local half = {}
  for i = 1, n do half[i] = width end
  return table.move(rest, 1, #rest, n + 1, half)
end

local halves = {
  table5_1 = times(16, 1, { 1 }),
  table5_2 = times(8, 2, { 1 }),
  table5_3 = times(7, 2, { 1, 1, 1 }),
  table5_4 = { 4, 4, 4, 2, 1, 1, 1 },
  table5_5 = { 8, 4, 2, 1, 1, 1 },
  table5_6 = { 1, 1, 2, 4, 8, 1 },
  table6_1x1 = { 11, 8, 4, 2, 1 },
  table6_3x3 = { 10, 8, 4, 2, 1, 1 },
  table6_5x5 = { 9, 8, 4, 2, 1, 1, 1 },
  table6_7x7 = { 8, 8, 4, 2, 1, 1, 1, 1 },
}

local grids, names = {}, {}
for name, half in pairs(halves) do
  names[#names + 1] = name
  grids[name] = whole(half)
end
table.sort(names)

local function find(name)
  if grids[name] then return table.move(grids[name], 1, #grids[name], 1, {}) end
  options.raise(("no grid is called '%s'%s (%s)"):format(name, options.hint(name, names), table.concat(names, ", ")))
end

local resolve = {}

--- Names in the grid of a model's options, one or in a list of one a stage, become the lists they stand for; all else
-- stays.
function resolve.grid(value)
  if type(value) == "string" then return find(value) end
  if type(value) ~= "table" then return value end
  local out = {}
  for i, entry in pairs(value) do out[i] = type(entry) == "string" and find(entry) or entry end
  return out
end

return setmetatable(grids, { __index = resolve, __tostring = function(t)
  local lines = {}
  for i, name in ipairs(names) do lines[i] = ("%-10s  %s"):format(name, tostring(t[name])) end
  return table.concat(lines, "\n")
end })
