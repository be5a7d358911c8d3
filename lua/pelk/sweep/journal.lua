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
  event.time = os.time()
  local ok, message = self.file:append(json.encode(event))
  if not ok then error("sweep: " .. message, 0) end
end

function Journal:close() self.file:close() end

--- The whole lines of a file that are JSON, in order, and how many are not.
function Journal.lines(path)
  local out, bad = {}, 0
  local file = io.open(path, "rb")
  if not file then return out, bad end
  for line in file:lines() do
    local event = json.decode(line)
    if type(event) == "table" then out[#out + 1] = event else bad = bad + 1 end
  end
  file:close()
  return out, bad
end

--- Paths of all journals of a folder, sorted by share.
function Journal.paths(dir)
  local names = {}
  for _, entry in ipairs(core.list_dir(dir) or {}) do
    if entry[1]:find("^journal%.?%d*%.jsonl$") then names[#names + 1] = entry[1] end
  end
  table.sort(names, function(a, b)
    local m, n = tonumber(a:match("%d+")) or -1, tonumber(b:match("%d+")) or -1
    return m < n
  end)
  for i, name in ipairs(names) do names[i] = dir .. "/" .. name end
  return names
end

--- All that is known of a folder's trials: id -> {params, state, value, metrics, seconds, error, attempts}, the order
-- in which they were asked for, and what the newest sweep event says. Of events about one trial the newest counts.
function Journal.fold(dir)
  local trials, order, about, damaged = {}, {}, nil, 0
  local function trial(event)
    local t = trials[event.id]
    if not t then
      t = { id = event.id, state = "waiting", attempts = 0, at = -1 }
      trials[event.id] = t
      order[#order + 1] = event.id
    end
    if event.params then t.params = event.params end
    return t
  end
  for _, path in ipairs(Journal.paths(dir)) do
    local events, bad = Journal.lines(path)
    damaged = damaged + bad
    for _, event in ipairs(events) do
      if event.event == "sweep" then
        if not about or event.time >= about.time then about = event end
        for _, asked in ipairs(event.trials or {}) do trial(asked) end
      elseif event.event == "begin" then
        local t = trial(event)
        t.state, t.attempts, t.at = "running", t.attempts + 1, event.time
      elseif event.event == "end" then
        local t = trial(event)
        if event.time >= t.at then
          t.state, t.value, t.metrics, t.error = event.state, event.value, event.metrics, event.error
          t.seconds, t.at = (t.seconds or 0) + (event.seconds or 0), event.time
        end
      end
    end
  end
  return trials, order, about, damaged
end

return Journal
