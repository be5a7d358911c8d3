--- Tables of numbers in files: CSV with a line of names.
-- @module pelk.csv
local csv = {}

local function split(line)
  local cells = {}
  for cell in (line .. ","):gmatch("([^,]*),") do cells[#cells + 1] = cell end
  return cells
end

--- Rows of numbers by name; cells that are no numbers are left out.
-- @string path
-- @treturn table list of rows, or nil, message
function csv.read(path)
  local file, message = io.open(path, "rb")
  if not file then return nil, message end
  local names, rows = nil, {}
  for line in file:lines() do
    line = line:gsub("\r$", "")
    if not names then
      names = split(line)
    elseif line ~= "" then
      local row = {}
      for i, cell in ipairs(split(line)) do
        if names[i] then row[names[i]] = tonumber(cell) end
      end
      rows[#rows + 1] = row
    end
  end
  file:close()
  return rows
end

return csv
