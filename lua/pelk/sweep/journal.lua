--- What happened in a sweep: dir/journal.jsonl (journal.2.jsonl of share 2), one event a line, one writer, each line on
-- the disk before the sweep goes on. Events: sweep (what is asked for), begin, end of a trial.
local core = require("pelk.core")
local json = require("pelk.json")

local Journal = {}
Journal.__index = Journal

--- Open the journal of a share for writing.
-- @treturn Journal or nil, message
function Journal.open(dir, share)
  local ok, message = core.make_dir(dir)
  if not ok then return nil, message end
  local path = ("%s/journal%s.jsonl"):format(dir, share.count > 1 and "." .. share.index or "")
  local file, why, taken = core.journal(path)
  if not file then
    return nil, taken and ("%s: another sweep runs in this folder; wait for it or give another dir"):format(dir) or why
  end
  return setmetatable({ file = file, path = path }, Journal)
end

--- Add an event; what cannot be written ends the sweep.
function Journal:write(event)
  event.time = event.time or os.time()
  local ok, message = self.file:append(json.encode(event))
  if not ok then error("sweep: " .. message, 0) end
end

function Journal:close() self.file:close() end

--- The lines of a file that are JSON, in order, and how many are not. A last line without an end was torn by a crash;
-- it counts as damaged, whatever it says, for the next writer cuts it off.
-- @treturn table what they say
-- @treturn int how many are damaged
-- @treturn table their texts
function Journal.lines(path)
  local out, bad, texts = {}, 0, {}
  local file = io.open(path, "rb")
  if not file then return out, bad, texts end
  for line in file:lines("L") do
    local event = line:sub(-1) == "\n" and json.decode(line)
    if type(event) == "table" then out[#out + 1], texts[#texts + 1] = event, line else bad = bad + 1 end
  end
  file:close()
  return out, bad, texts
end

--- The share whose journal it is; nil of the one that is all of a sweep, or merged.
function Journal.share(path) return math.tointeger(tonumber(path:match("journal%.(%d+)%.jsonl$"))) end

--- Paths of all journals of a folder, sorted by share.
function Journal.paths(dir)
  local names = {}
  for _, entry in ipairs(core.list_dir(dir) or {}) do
    if entry[1]:find("^journal%.?%d*%.jsonl$") then names[#names + 1] = entry[1] end
  end
  table.sort(names, function(a, b) return (Journal.share(a) or -1) < (Journal.share(b) or -1) end)
  for i, name in ipairs(names) do names[i] = dir .. "/" .. name end
  return names
end

--- What a trial reported, rows by epoch: a report takes back those of its epoch and later ones, which a run that went
-- on from an older checkpoint makes again.
-- @string path its progress.jsonl
function Journal.curve(path)
  local rows = {}
  for _, row in ipairs(Journal.lines(path)) do
    if math.type(row.epoch) and math.type(row.value) then
      while #rows > 0 and rows[#rows].epoch >= row.epoch do table.remove(rows) end
      rows[#rows + 1] = row
    end
  end
  return rows
end

--- The events of all journals of a folder by time, those of one journal in their order. What a merge that was killed
-- half way left in a share's journal, and the merged one has, counts once.
-- @treturn table events
-- @treturn int how many lines are damaged
-- @treturn table the events' lines
function Journal.events(dir)
  local all, damaged, merged = {}, 0, {}
  for _, path in ipairs(Journal.paths(dir)) do -- the merged one comes first
    local events, bad, texts = Journal.lines(path)
    local time, share = 0, Journal.share(path)
    damaged = damaged + bad
    for i, event in ipairs(events) do
      local text = texts[i]
      local again = share and (merged[text] or 0) > 0
      time = math.max(time, math.type(event.time) and event.time or 0) -- clocks are set back now and then
      if not again then all[#all + 1] = { time = time, order = #all, event = event, text = text } end
      if again or not share then merged[text] = (merged[text] or 0) + (again and -1 or 1) end
    end
  end
  table.sort(all, function(a, b)
    if a.time ~= b.time then return a.time < b.time end
    return a.order < b.order
  end)
  local events, texts = {}, {}
  for i, entry in ipairs(all) do events[i], texts[i] = entry.event, entry.text end
  return events, damaged, texts
end

local fold = {}

function fold.sweep(state, event)
  state.about = event
  for _, asked in ipairs(type(event.trials) == "table" and event.trials or {}) do
    if type(asked) == "table" and type(asked.id) == "string" then state:trial(asked) end
  end
end

function fold.begin(state, event)
  local t = state:trial(event)
  t.state, t.attempts, t.error = "running", t.attempts + 1, nil
end

fold["end"] = function(state, event)
  local t = state:trial(event)
  t.state, t.value, t.metrics, t.error = event.state, event.value, event.metrics, event.error
  t.seconds = (t.seconds or 0) + (event.seconds or 0)
end

--- All that is known of a folder's trials: id -> {params, state, value, metrics, seconds, error, attempts}, the order
-- in which they were asked for, what the newest sweep event says, and how many lines are damaged.
function Journal.fold(dir)
  local state = { trials = {}, order = {} }
  function state:trial(event)
    local t = self.trials[event.id]
    if not t then
      t = { id = event.id, state = "waiting", attempts = 0 }
      self.trials[event.id] = t
      self.order[#self.order + 1] = event.id
    end
    if type(event.params) == "table" then t.params = event.params end
    return t
  end
  local events, damaged = Journal.events(dir)
  for _, event in ipairs(events) do
    local f = fold[event.event]
    if f and (event.event == "sweep" or type(event.id) == "string") then f(state, event) end
  end
  return state.trials, state.order, state.about, damaged
end

return Journal
