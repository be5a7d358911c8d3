--- The journals of several shares made one.
local core = require("pelk.core")
local Journal = require("pelk.sweep.journal")

--- All share's journals, locked; or nil, message, and none is.
local function take_all(paths, main)
  local files = {}
  for _, path in ipairs(paths) do
    if path ~= main then
      local file, message, taken = core.journal(path)
      if not file then
        for _, other in ipairs(files) do other.file:close() end
        return nil, taken and path .. ": its share still runs" or message
      end
      files[#files + 1] = { path = path, file = file }
    end
  end
  return files
end

--- What tells events apart: a merge that was killed half way is made again.
local function key_of(event) return ("%s %s %s"):format(event.event, event.id, event.time) end

--- The journals of all shares as one, journal.jsonl, in the order of time. Reading the folder gives the same before and
-- after; a sweep of another number of shares goes on with it either way.
-- @string dir the sweep's folder
-- @treturn int how many journals were merged; or nil, message (none is there, a share still runs)
return function(dir)
  local paths = Journal.paths(dir)
  if #paths == 0 then return nil, ("%s: holds no sweep (no journal.jsonl)"):format(dir) end
  local main, why = Journal.open(dir, { index = 1, count = 1 })
  if not main then return nil, why end
  local files
  files, why = take_all(paths, main.path)
  if not files then
    main:close()
    return nil, why
  end
  local there = {}
  for _, event in ipairs((Journal.lines(main.path))) do there[key_of(event)] = true end
  for _, event in ipairs(Journal.events(dir)) do
    if not there[key_of(event)] then
      there[key_of(event)] = true
      main:write(event)
    end
  end
  for _, each in ipairs(files) do
    os.remove(each.path)
    each.file:close()
  end
  main:close()
  return #files
end
