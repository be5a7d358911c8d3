--- How tables print: lists of names, records of options, parts of the library. Only tostring is added; they stay plain
-- tables otherwise.
local options = require("pelk.options")

local show = {}

--- A value in one line: "{9,8,4}", "\"valid\"", "{3,3,8} float32" of a tensor, "{...}" for what is deeper.
local function short(value, deep)
  if type(value) == "string" then return ("%q"):format(value) end
  if type(value) == "userdata" then return (tostring(value):gsub("^.*\n", "")) end
  if type(value) ~= "table" then return tostring(value) end
  if #value == 0 or deep then return next(value) == nil and "{}" or "{...}" end
  local parts = {}
  for i = 1, math.min(#value, 16) do parts[i] = short(value[i], true) end
  return "{" .. table.concat(parts, ", ") .. (#value > 16 and ", ..." or "") .. "}"
end

local function sorted_keys(t)
  local keys = {}
  for key in pairs(t) do keys[#keys + 1] = tostring(key) end
  table.sort(keys)
  return keys
end

local list_mt = { __tostring = function(t)
  local lines = {}
  for i, value in ipairs(t) do lines[i] = type(value) == "userdata" and short(value) or tostring(value) end
  return table.concat(lines, "\n")
end }

local row_mt = { __tostring = short }

local record_mt = { __tostring = function(t)
  local keys, lines, width = sorted_keys(t), {}, 0
  for _, key in ipairs(keys) do width = math.max(width, #key) end
  for i, key in ipairs(keys) do lines[i] = key .. (" "):rep(width - #key) .. " = " .. short(t[key]) end
  return table.concat(lines, "\n")
end }

--- "linear(x, w, b?, {stride=1})": a function from the lists that say what it takes.
function show.signature(name, inputs, parameters)
  local parts, named = {}, {}
  for i, input in ipairs(inputs) do
    parts[i] = input.name .. (input.variadic and "..." or "") .. (input.optional and "?" or "")
  end
  for i, p in ipairs(parameters) do named[i] = p.name .. "=" .. (p.default == nil and "" or short(p.default)) end
  if #named > 0 then parts[#parts + 1] = "{" .. table.concat(named, ", ") .. "}" end
  return name .. "(" .. table.concat(parts, ", ") .. ")"
end

--- The entries of a list whose name holds the Lua pattern (all without one), each with the metatable.
-- @string owner for the message about what is no pattern
function show.matching(owner, list, mt, pattern)
  if pattern ~= nil and type(pattern) ~= "string" then
    options.raise(("%s: the pattern must be a string, got %s"):format(owner, type(pattern)))
  end
  local out = {}
  for _, entry in ipairs(list) do
    if not pattern or options.call(string.find, entry.name, pattern) then out[#out + 1] = setmetatable(entry, mt) end
  end
  return show.list(out)
end

--- A list that prints one element a line.
function show.list(t) return setmetatable(t, list_mt) end

--- A list that prints in one line: {2,1,1,1,2}.
function show.row(t) return setmetatable(t, row_mt) end

--- A table that prints as lines of "name = value", sorted.
function show.record(t) return setmetatable(t, record_mt) end

--- Named tensors, which keep their order (pairs goes by it), print as lines of "name = {2,3} float32" in it.
function show.tensors(t)
  local mt = getmetatable(t)
  mt.__tostring = function()
    local lines, width = {}, 0
    for name in pairs(t) do width = math.max(width, #name) end
    for name, tensor in pairs(t) do
      lines[#lines + 1] = name .. (" "):rep(width - #name) .. " = " .. short(tensor)
    end
    return table.concat(lines, "\n")
  end
  return t
end

--- Is it one of the tables above, plain but for how it prints?
function show.is_plain(t)
  local mt = getmetatable(t)
  return mt == nil or mt == list_mt or mt == row_mt or mt == record_mt
end

--- Rows of cells as lines: columns as wide as their widest cell, the first `left` to the left, the rest to the right.
function show.columns(cells, left)
  local width, lines = {}, {}
  for _, row in ipairs(cells) do
    for i, cell in ipairs(row) do width[i] = math.max(width[i] or 0, utf8.len(cell) or #cell) end
  end
  for _, row in ipairs(cells) do
    local out = {}
    for i, cell in ipairs(row) do
      local pad = (" "):rep(width[i] - (utf8.len(cell) or #cell))
      out[i] = i <= left and cell .. pad or pad .. cell
    end
    lines[#lines + 1] = (table.concat(out, "  "):gsub("%s+$", ""))
  end
  return lines
end

--- A part of the library (pelk.nn) that prints as the names in it, its own and those of `more`.
-- @string title
-- @tab part gets its __tostring; a metatable it has stays
-- @tab[opt] more where the part finds what it has not itself
function show.part(title, part, more)
  local mt = getmetatable(part) or {}
  function mt.__tostring()
    local names = {}
    for _, from in ipairs({ part, more }) do
      for key in pairs(from) do names[key] = true end
    end
    return title .. ": " .. table.concat(sorted_keys(names), " ")
  end
  return setmetatable(part, mt)
end

return show
