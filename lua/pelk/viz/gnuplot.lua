-- Charts are drawn by gnuplot. The data goes into the script as blocks; the only thing a shell sees is the quoted name
-- of the script.
local core = require "pelk.core"

local gnuplot = {}

local MISSING = "gnuplot is not installed: apt-get install gnuplot-nox"

-- A string gnuplot reads as it is.
function gnuplot.quote(s) return "'" .. s:gsub("'", "''") .. "'" end

-- Colours that differ in hue and in lightness, for lines one after the other.
gnuplot.colors = { "#2c728e", "#e26952", "#5ec962", "#440154", "#f2a541", "#888888" }

local function shell_quote(s) return "'" .. s:gsub("'", "'\\''") .. "'" end

local function installed() return (os.execute("command -v gnuplot >/dev/null 2>&1")) == true end

-- Run the script; what gnuplot complained of, or nil.
local function run(script)
  local name = os.tmpname()
  local ok, message = core.write_file(name, script)
  if not ok then return message end
  local pipe = io.popen("gnuplot " .. shell_quote(name) .. " 2>&1", "r")
  local said = pipe:read("a")
  local fine = pipe:close()
  os.remove(name)
  if not fine then return "gnuplot: " .. (said:match("line %d+: [^\n]*") or said:sub(1, 200)) end
end

local function read_file(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local bytes = file:read("a")
  file:close()
  return bytes
end

-- Make a PNG file at path: make(out) gives the script that draws into the file out with the terminal pngcairo (or nil,
-- message). Through a temporary file, so that a failure leaves the old picture. Without cairo the plain png terminal.
-- true, or nil, message.
function gnuplot.draw(path, make)
  if not installed() then return nil, MISSING end
  local out = os.tmpname()
  local script, message = make(out)
  if not script then
    os.remove(out)
    return nil, message
  end
  local trouble = run(script)
  if trouble and trouble:find("terminal") then
    trouble = run((script:gsub("pngcairo size (%d+,%d+) [^\n]*", "png size %1")))
  end
  local bytes = read_file(out)
  os.remove(out)
  if trouble then return nil, trouble end
  if not bytes or bytes:sub(1, 8) ~= "\137PNG\r\n\26\n" then return nil, "gnuplot made no picture" end
  return core.write_file(path, bytes)
end

return gnuplot
