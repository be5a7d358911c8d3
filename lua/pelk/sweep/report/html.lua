--- Text for a page: everything that comes from outside is escaped here, so that no name or error can leave its place.
-- @module pelk.sweep.report.html
local json = require("pelk.json")

local html = {}

local REPLACEMENT = "\u{FFFD}"

--- Valid UTF-8 without control characters but tabs and line ends: bad bytes become U+FFFD.
function html.clean(s)
  local parts, at = {}, 1
  while at <= #s do
    local valid, bad = utf8.len(s, at)
    local stop = valid and #s or bad - 1
    parts[#parts + 1] = s:sub(at, stop)
    if not valid then parts[#parts + 1] = REPLACEMENT end
    at = stop + (valid and 1 or 2)
  end
  return (table.concat(parts):gsub("[%z\1-\8\11-\31\127]", REPLACEMENT))
end

local entities = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }

--- Text as it may stand between tags and in quoted attributes.
function html.escape(value) return (html.clean(tostring(value)):gsub("[&<>\"']", entities)) end

local function attributes(given)
  local names, parts = {}, {}
  for name, value in pairs(given) do if value then names[#names + 1] = name end end
  table.sort(names)
  for i, name in ipairs(names) do
    local value = given[name]
    parts[i] = value == true and " " .. name or (' %s="%s"'):format(name, html.escape(value))
  end
  return table.concat(parts)
end

--- An element: attributes (true: without a value; false: left out) are escaped, the inside is HTML as it is; nil: an
-- element without an end.
function html.tag(name, given, inner)
  local open = "<" .. name .. attributes(given or {}) .. ">"
  return inner and open .. inner .. "</" .. name .. ">" or open
end

--- An element of SVG without an inside, or with a title that is shown by pointing at it.
function html.shape(name, given, title)
  local open = "<" .. name .. attributes(given)
  return title and ("%s><title>%s</title></%s>"):format(open, html.escape(title), name) or open .. "/>"
end

--- A value for `<script type="application/json">`: JSON in which no tag can begin or end.
function html.json(value)
  local codes = { ["<"] = "\\u003c", [">"] = "\\u003e", ["&"] = "\\u0026" }
  return (json.encode(value):gsub("[<>&]", codes):gsub("\u{2028}", "\\u2028"):gsub("\u{2029}", "\\u2029"))
end

local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

--- Base64 (RFC 4648).
function html.base64(bytes)
  local function digit(n) return alphabet:sub(n + 1, n + 1) end
  local coded = bytes:gsub("..?.?", function(group)
    local a, b, c = group:byte(1, 3)
    local n = (a << 16) | ((b or 0) << 8) | (c or 0)
    return digit(n >> 18) .. digit(n >> 12 & 63) .. (b and digit(n >> 6 & 63) or "=") .. (c and digit(n & 63) or "=")
  end)
  return coded
end

return html
