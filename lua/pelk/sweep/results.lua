--- What a sweep found: a list of records that prints as a table, sorts, filters and goes into CSV, Markdown and LaTeX.
local core = require("pelk.core")
local options = require("pelk.options")
local show = require("pelk.show")
local Journal = require("pelk.sweep.journal")
local here = require("pelk.sweep.here")
local space = require("pelk.sweep.space")

local Results = {}
Results.__index = Results
Results.__name = "pelk.sweep.Results"

local metric_order = { "top1", "top5", "loss", "params", "macs", "images_per_second" }

local function quote(word)
  return word:find("^[%w_./=,:+-]+$") and word or "'" .. word:gsub("'", "'\\''") .. "'"
end

--- The command that runs a trial again, or nil where the sweep was not called from a script.
local function command_of(folder, config)
  if not config or not config.script then return nil end
  local words = { "PELK_SWEEP_TRIAL=" .. quote(folder), "lua5.4", quote(config.script) }
  for _, word in ipairs(config.arguments or {}) do words[#words + 1] = quote(word) end
  return table.concat(words, " ")
end

local function record_of(dir, t)
  local folder = ("%s/trials/%s"):format(dir, t.id)
  local curve = Journal.curve(folder .. "/progress.jsonl")
  return { id = t.id, params = t.params or {}, state = t.state, value = t.value, metrics = t.metrics or {},
    curve = curve, error = t.error, seconds = t.seconds, folder = folder, attempts = t.attempts,
    command = command_of(folder, here.read_json(folder .. "/config.json")) }
end

--- A list of records with what belongs to all of them.
local function make(records, about)
  local out = setmetatable({ dir = about.dir, name = about.name, goal = about.goal or "max",
    metric = about.metric or "value", machine = about.machine, columns = space.columns(records) }, Results)
  for i, r in ipairs(records) do out[i] = r end
  return out
end
Results.make = make

--- Read a sweep's folder, of a sweep that is over, stopped or running.
-- @string dir
-- @treturn Results records {id, params, state = "done"|"failed"|"running"|"paused"|"stopped"|"waiting", value, metrics,
--   curve = {{epoch, value, ...}, ...}, error, seconds, attempts, folder, command}, and dir, name, goal ("max" or
--   "min"), metric, machine, columns (dotted names of the parameters that vary), damaged (lines of the journal that
--   were left out); or nil, message
function Results.read(dir)
  if type(dir) ~= "string" then options.raise("sweep.read: wants the folder of a sweep") end
  if #Journal.paths(dir) == 0 then return nil, ("%s: holds no sweep (no journal.jsonl)"):format(dir) end
  local trials, order, about, damaged = Journal.fold(dir)
  local records = {}
  for i, id in ipairs(order) do records[i] = record_of(dir, trials[id]) end
  about = about or {}
  local out = make(records, { dir = dir, name = about.name, goal = about.goal, metric = about.metric,
    machine = about.machine })
  out.damaged = damaged
  return out
end

-- ---- choosing ----

local function key_of(record, key)
  if key == "value" or key == "seconds" or key == "state" or key == "id" then return record[key] end
  local v = record.metrics[key]
  if v == nil then v = space.get(record.params, key) end
  return v
end

--- A new list, sorted by "value" (the best first), "seconds", a metric, or a parameter's dotted name; records without
-- it come last.
-- @string[opt="value"] key
-- @bool[opt] descending; by default as the goal says for "value", false for the others
function Results:sort(key, descending)
  key = key or "value"
  if descending == nil then descending = key == "value" and self.goal == "max" end
  local at, records = {}, {}
  for i, r in ipairs(self) do at[r], records[i] = i, r end
  local function comparable(v) return math.type(v) and v or v ~= nil and space.show_value(v) or nil end
  table.sort(records, function(a, b)
    local x, y = comparable(key_of(a, key)), comparable(key_of(b, key))
    if x == nil or y == nil then
      if (x == nil) ~= (y == nil) then return x ~= nil end
      return at[a] < at[b]
    end
    if x == y then return at[a] < at[b] end
    if type(x) ~= type(y) then x, y = tostring(x), tostring(y) end
    if descending then return x > y end
    return x < y
  end)
  return make(records, self)
end

--- A new list of the records for which f(record) is true.
function Results:filter(f)
  local records = {}
  for _, r in ipairs(self) do if f(r) then records[#records + 1] = r end end
  local out = make(records, self)
  out.columns = self.columns
  return out
end

--- The record with the best value among those that are done, or nil.
function Results:best()
  local best
  for _, r in ipairs(self) do
    if r.state == "done" and r.value then
      if not best or (self.goal == "min" and r.value < best.value) or (self.goal ~= "min" and r.value > best.value) then
        best = r
      end
    end
  end
  return best
end

-- ---- as a table ----

local function number_text(v)
  if math.type(v) == "integer" or v == math.floor(v) and math.abs(v) < 1e15 then return ("%d"):format(v) end
  return ("%.6g"):format(v)
end

local function text(v)
  if v == nil then return "" end
  return math.type(v) and number_text(v) or space.show_value(v)
end

--- Names of the metrics that some record has: the usual ones first.
function Results:metric_names()
  local seen, names = {}, {}
  for _, r in ipairs(self) do for name in pairs(r.metrics) do seen[name] = true end end
  for _, name in ipairs(metric_order) do
    if seen[name] then names[#names + 1] = name end
    seen[name] = nil
  end
  local rest = {}
  for name in pairs(seen) do rest[#rest + 1] = name end
  table.sort(rest)
  return table.move(rest, 1, #rest, #names + 1, names)
end

--- Header and rows of texts.
function Results:cells(metrics)
  local header, rows = {}, {}
  for _, name in ipairs(self.columns) do header[#header + 1] = name end
  for _, name in ipairs { "state", self.metric } do header[#header + 1] = name end
  for _, name in ipairs(metrics) do header[#header + 1] = name end
  header[#header + 1] = "seconds"
  for i, r in ipairs(self) do
    local row = {}
    for _, name in ipairs(self.columns) do row[#row + 1] = text(space.get(r.params, name)) end
    row[#row + 1] = r.state
    row[#row + 1] = text(r.value)
    for _, name in ipairs(metrics) do row[#row + 1] = text(r.metrics[name]) end
    row[#row + 1] = r.seconds and ("%.1f"):format(r.seconds) or ""
    rows[i] = row
  end
  return header, rows
end

function Results:__tostring()
  local names = {}
  for _, name in ipairs(self:metric_names()) do
    if name ~= self.metric and name ~= "train_loss" and name ~= "top5" then names[#names + 1] = name end
  end
  local header, rows = self:cells(names)
  local lines = show.columns({ header, table.unpack(rows) }, #self.columns + 1)
  table.insert(lines, 2, ("-"):rep(utf8.len(lines[1])))
  local failed = 0
  for _, r in ipairs(self) do
    if r.error then
      failed = failed + 1
      if failed <= 3 then lines[#lines + 1] = ("%s failed: %s"):format(r.id, tostring(r.error):match("[^\n]*")) end
    end
  end
  if failed > 3 then lines[#lines + 1] = ("... and %d more failed"):format(failed - 3) end
  return table.concat(lines, "\n")
end

local function csv_cell(s) return s:find('[",\n\r]') and '"' .. s:gsub('"', '""') .. '"' or s end

--- As CSV with the id and all metrics: into a file, or the text.
-- @string[opt] path
-- @return the text; or true, or nil, message
function Results:csv(path)
  local header, rows = self:cells(self:metric_names())
  local lines = {}
  for i = 0, #rows do
    local row, cells = i == 0 and header or rows[i], { i == 0 and "id" or self[i].id }
    for _, cell in ipairs(row) do cells[#cells + 1] = csv_cell(cell) end
    lines[#lines + 1] = table.concat(cells, ",")
  end
  local all = table.concat(lines, "\n") .. "\n"
  if path then return core.write_file(path, all) end
  return all
end

--- As a Markdown table.
function Results:markdown()
  local header, rows = self:cells(self:metric_names())
  local lines = { "| " .. table.concat(header, " | ") .. " |", "|" .. (" --- |"):rep(#header) }
  for _, row in ipairs(rows) do
    local cells = {}
    for i, cell in ipairs(row) do cells[i] = cell:gsub("|", "\\|"):gsub("\n", "<br>") end
    lines[#lines + 1] = "| " .. table.concat(cells, " | ") .. " |"
  end
  return table.concat(lines, "\n") .. "\n"
end

local tex = { ["\\"] = "\\textbackslash{}", ["{"] = "\\{", ["}"] = "\\}", ["_"] = "\\_", ["%"] = "\\%", ["&"] = "\\&",
  ["#"] = "\\#", ["$"] = "\\$", ["~"] = "\\textasciitilde{}", ["^"] = "\\textasciicircum{}" }

--- As a LaTeX tabular (booktabs).
function Results:latex()
  local header, rows = self:cells(self:metric_names())
  local function line(row)
    local cells = {}
    for i, cell in ipairs(row) do cells[i] = cell:gsub("[\\{}_%%&#$~^]", tex):gsub("^%[", "{[}") end -- \\[ is a length
    return table.concat(cells, " & ") .. " \\\\"
  end
  local n = #self.columns + 1
  local lines = { ("\\begin{tabular}{%s%s}"):format(("l"):rep(n), ("r"):rep(#header - n)), "\\toprule", line(header),
    "\\midrule" }
  for _, row in ipairs(rows) do lines[#lines + 1] = line(row) end
  lines[#lines + 1] = "\\bottomrule\n\\end{tabular}\n"
  return table.concat(lines, "\n")
end

return Results
