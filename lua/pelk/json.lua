-- JSON for run folders and logs. Encoding: keys in order, so that equal tables give equal text; NaN, infinities,
-- functions, cycles and mixed tables are refused with the path of the culprit. Decoding: strict, with a depth limit;
-- errors say line and column.
local json = {}

json.null = setmetatable({}, { __tostring = function() return "null" end, __name = "json.null" })

local MAX_DEPTH = 64

-- ---- encode ----

local escapes = { ['"'] = '\\"', ["\\"] = "\\\\", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r",
  ["\t"] = "\\t" }

local function quote(s, path)
  if not utf8.len(s) then error(("json: %s is not valid UTF-8"):format(path), 0) end
  return '"' .. s:gsub('[%c"\\\127]', function(c) return escapes[c] or ("\\u%04x"):format(c:byte()) end) .. '"'
end

local function number(n, path)
  if math.type(n) == "integer" then return ("%d"):format(n) end
  if n ~= n or math.abs(n) == math.huge then error(("json: %s is %s, which JSON cannot say"):format(path, n), 0) end
  local short = ("%.14g"):format(n)
  if tonumber(short) ~= n then short = ("%.17g"):format(n) end
  return short:find("[%.eE]") and short or short .. ".0"
end

-- "list", "object", or an error for a mixture.
local function kind_of(t, path)
  local n, strings = 0, 0
  for key in pairs(t) do
    if type(key) == "string" then strings = strings + 1
    elseif math.type(key) == "integer" then n = n + 1
    else error(("json: %s has a key that is a %s"):format(path, type(key)), 0) end
  end
  if strings > 0 and n > 0 then error(("json: %s has both names and numbers as keys"):format(path), 0) end
  if n > 0 and n ~= #t then error(("json: %s is a list with holes"):format(path), 0) end
  return strings == 0 and n > 0 and "list" or "object"
end

local encode_value

local function encode_list(t, path, depth, indent)
  local parts = {}
  for i, value in ipairs(t) do parts[i] = encode_value(value, ("%s[%d]"):format(path, i), depth, indent) end
  return parts, "[", "]"
end

local function encode_object(t, path, depth, indent)
  local keys, parts = {}, {}
  for key in pairs(t) do keys[#keys + 1] = key end
  table.sort(keys)
  for i, key in ipairs(keys) do
    parts[i] = quote(key, path) .. (indent and ": " or ":") .. encode_value(t[key], path .. "." .. key, depth, indent)
  end
  return parts, "{", "}"
end

local function encode_table(t, path, depth, indent)
  if depth > MAX_DEPTH then error(("json: %s is nested deeper than %d, or in itself"):format(path, MAX_DEPTH), 0) end
  local parts, open, close
  if getmetatable(t) == "json.list" or kind_of(t, path) == "list" then
    parts, open, close = encode_list(t, path, depth + 1, indent)
  else
    parts, open, close = encode_object(t, path, depth + 1, indent)
  end
  if #parts == 0 then return open .. close end
  if not indent then return open .. table.concat(parts, ",") .. close end
  local inner, outer = "\n" .. indent:rep(depth), "\n" .. indent:rep(depth - 1)
  return open .. inner .. table.concat(parts, "," .. inner) .. outer .. close
end

function encode_value(value, path, depth, indent)
  local t = type(value)
  if value == json.null then return "null" end
  if t == "string" then return quote(value, path) end
  if t == "number" then return number(value, path) end
  if t == "boolean" then return tostring(value) end
  if t == "table" then return encode_table(value, path, depth, indent) end
  error(("json: %s is a %s, which JSON cannot say"):format(path, t), 0)
end

-- Mark a list, so that an empty one is written [] and not {}.
function json.list(t) return setmetatable(t or {}, { __metatable = "json.list" }) end

-- The text of a value; indent (say "  ") puts every member on a line of its own. Raises what cannot be said.
function json.encode(value, indent)
  local ok, text = pcall(encode_value, value, "value", 1, indent)
  if not ok then error(text, 2) end
  return text
end

-- ---- decode ----

local function fail(s, at, message)
  local line, from = 1, 1
  for place in s:sub(1, at - 1):gmatch("()\n") do line, from = line + 1, place + 1 end
  error({ message = ("%s at line %d, column %d"):format(message, line, at - from + 1) }, 0)
end

local function skip(s, at) return s:find("[^ \t\r\n]", at) or #s + 1 end

local plain = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["/"] = "/" }

local function hex4(s, at)
  local digits = s:match("^%x%x%x%x", at)
  if not digits then fail(s, at, "four hexadecimal digits expected") end
  return tonumber(digits, 16)
end

-- The escape whose backslash is at `at`: its text and where to go on.
local function unescape(s, at)
  local c = s:sub(at + 1, at + 1)
  if plain[c] then return plain[c], at + 2 end
  if c ~= "u" then fail(s, at, "unknown escape") end
  local code = hex4(s, at + 2)
  if code >= 0xd800 and code < 0xdc00 then
    if s:sub(at + 6, at + 7) ~= "\\u" then fail(s, at, "half a surrogate pair") end
    local low = hex4(s, at + 8)
    if low < 0xdc00 or low > 0xdfff then fail(s, at, "half a surrogate pair") end
    return utf8.char(0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00)), at + 12
  end
  if code >= 0xdc00 and code < 0xe000 then fail(s, at, "half a surrogate pair") end
  return utf8.char(code), at + 6
end

local function read_string(s, at)
  local parts, from = {}, at + 1
  while true do
    local stop = s:find('[%c"\\]', from)
    if not stop then fail(s, at, "a string without an end") end
    parts[#parts + 1] = s:sub(from, stop - 1)
    local c = s:sub(stop, stop)
    if c == '"' then return table.concat(parts), stop + 1 end
    if c == "\127" then
      parts[#parts + 1], from = c, stop + 1
    elseif c == "\\" then
      parts[#parts + 1], from = unescape(s, stop)
    else
      fail(s, stop, "a control character in a string")
    end
  end
end

local function read_number(s, at)
  local text = s:match("^-?%d+%.?%d*[eE]?[+-]?%d*", at)
  local whole = text and text:match("^-?(%d+)")
  local valid = text and (whole == "0" or whole:sub(1, 1) ~= "0") and
    (text:match("^-?%d+$") or text:match("^-?%d+%.%d+$") or text:match("^-?%d+[eE][+-]?%d+$") or
      text:match("^-?%d+%.%d+[eE][+-]?%d+$"))
  if not valid then fail(s, at, "not a value") end
  return math.tointeger(tonumber(text)) and not text:find("[%.eE]") and math.tointeger(tonumber(text)) or
    tonumber(text) + 0.0, at + #text
end

local read_value

local function read_list(s, at, depth)
  local list = json.list()
  at = skip(s, at + 1)
  if s:sub(at, at) == "]" then return list, at + 1 end
  while true do
    list[#list + 1], at = read_value(s, at, depth)
    at = skip(s, at)
    local c = s:sub(at, at)
    if c == "]" then return list, at + 1 end
    if c ~= "," then fail(s, at, "',' or ']' expected") end
    at = at + 1
  end
end

local function read_object(s, at, depth)
  local object = {}
  at = skip(s, at + 1)
  if s:sub(at, at) == "}" then return object, at + 1 end
  while true do
    at = skip(s, at)
    if s:sub(at, at) ~= '"' then fail(s, at, "a name in quotes expected") end
    local key, after = read_string(s, at)
    if object[key] ~= nil then fail(s, at, ("'%s' occurs twice"):format(key)) end
    at = skip(s, after)
    if s:sub(at, at) ~= ":" then fail(s, at, "':' expected") end
    object[key], at = read_value(s, at + 1, depth)
    at = skip(s, at)
    local c = s:sub(at, at)
    if c == "}" then return object, at + 1 end
    if c ~= "," then fail(s, at, "',' or '}' expected") end
    at = at + 1
  end
end

local words = { ["true"] = true, ["false"] = false, null = json.null }

function read_value(s, at, depth)
  at = skip(s, at)
  local c = s:sub(at, at)
  if (c == "{" or c == "[") and depth >= MAX_DEPTH then fail(s, at, ("nested deeper than %d"):format(MAX_DEPTH)) end
  if c == "{" then return read_object(s, at, depth + 1) end
  if c == "[" then return read_list(s, at, depth + 1) end
  if c == '"' then return read_string(s, at) end
  local word = s:match("^%a+", at)
  if word and words[word] ~= nil then return words[word], at + #word end
  return read_number(s, at)
end

-- The value of a text; null is json.null. nil, message for what is not JSON.
function json.decode(s)
  if type(s) ~= "string" then error(("json.decode wants a string, got %s"):format(type(s)), 2) end
  local valid, bad = utf8.len(s)
  if not valid then return nil, ("not valid UTF-8 at byte %d"):format(bad) end
  local ok, value, at = pcall(read_value, s, 1, 0)
  if ok then
    at = skip(s, at)
    if at > #s then return value end
    value = select(2, pcall(fail, s, at, "something after the end"))
  end
  if type(value) ~= "table" or not value.message then error(value, 0) end
  return nil, value.message
end

-- The value of a file; nil, message, which names the file, when it cannot be read or is not JSON.
function json.read(path)
  local file, message = io.open(path, "rb")
  if not file then return nil, message end
  local text
  text, message = file:read("a")
  file:close()
  if not text then return nil, ("%s: %s"):format(path, message) end
  local value
  value, message = json.decode(text)
  if value == nil then return nil, ("%s: %s"):format(path, message) end
  return value
end

return json
