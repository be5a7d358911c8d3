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
  local _, _, lines = Journal.events(dir)
  local ok, message = core.write_file(main.path, table.concat(lines)) -- the old file or the whole new one
  for _, each in ipairs(files) do
    if ok then os.remove(each.path) end
    each.file:close()
  end
  main:close()
  if not ok then return nil, message end
  return #files
end
