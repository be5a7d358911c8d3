--- What a sparse model is like at the moment: a table of its layers that prints as one, and as a small record for logs.
local show = require("pelk.show")

local report = {}

local Report = {}

local function percent(part, whole) return ("%.2f %%"):format(100 * part / math.max(1, whole)) end

local function cells_of(r, dead)
  local cells = { r.name, table.concat(r.shape, "x"), tostring(r.active), percent(r.active, r.live),
    r.masked and tostring(r.pruned) or "-", r.masked and tostring(r.grown) or "-",
    r.masked and ("%.0f"):format(r.age) or "-", r.masked and tostring(r.oldest) or "-" }
  if dead then
    cells[#cells + 1] = r.dead and ("%d of %d"):format(r.dead, r.dead + r.alive) or ""
    cells[#cells + 1] = r.dead and tostring(r.active_dead) or ""
  end
  return cells
end

function Report:__tostring()
  local header = { "layer", "shape", "connections", "density", "pruned", "grown", "age", "oldest" }
  if self.image_size then
    header[#header + 1] = "dead taps"
    header[#header + 1] = "connections there"
  end
  local rows = { header }
  for _, r in ipairs(self) do rows[#rows + 1] = cells_of(r, self.image_size) end
  local lines = show.columns(rows, 2)
  table.insert(lines, 2, ("-"):rep(#lines[1]))
  lines[#lines + 1] = ("density %s: %d of %d weights; %d steps, %d updates%s; an update now would replace %.1f %%")
    :format(percent(self.active, self.total), self.active, self.total, self.steps, self.updates,
    self.last_update and (", the last in step %d"):format(self.last_update) or "", 100 * self.prune_rate)
  return table.concat(lines, "\n")
end

--- Rows of layers to a report.
-- @tab rows as core gives them
-- @tab totals steps, updates, last_update, active, total, prune_rate, and image_size when dead taps are known
function report.new(rows, totals)
  for key, value in pairs(totals) do rows[key] = value end
  for _, r in ipairs(rows) do r.density = r.active / math.max(1, r.live) end
  return setmetatable(rows, Report)
end

--- The same as one plain table for log.jsonl: totals, and by layer density, what moved last, and the mean age.
function report.log(r)
  local layers, moved, oldest, age = {}, 0, 0, 0.0
  for _, row in ipairs(r) do
    layers[row.name] = { density = row.density, pruned = row.pruned, grown = row.grown, age = row.age }
    moved = moved + row.grown
    oldest = math.max(oldest, row.oldest)
    age = age + row.age * row.active
  end
  return { density = r.active / math.max(1, r.total), active = r.active, total = r.total, steps = r.steps,
    updates = r.updates, last_update = r.last_update, prune_rate = r.prune_rate, moved = moved,
    age = age / math.max(1, r.active), oldest = oldest, layers = layers }
end

return report
