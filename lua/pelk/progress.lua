--- Progress of long work: a bar that redraws itself on a terminal, plain lines now and then elsewhere.
-- @module pelk.progress

local core = require("pelk.core")

local progress = {}
progress.__index = progress

local PLAIN_EVERY = 15 -- seconds between lines when standard error is no terminal
local REDRAW_EVERY = 0.1

--- Seconds as "1:02:03" or "2:03".
function progress.duration(seconds)
  local s = math.floor(seconds + 0.5)
  if s >= 3600 then return ("%d:%02d:%02d"):format(s // 3600, s // 60 % 60, s % 60) end
  return ("%d:%02d"):format(s // 60, s % 60)
end

--- Begin.
-- @string label what is being done: "epoch 3/10"
-- @int total units of work (images)
-- @tab[opt] options quiet=false; done=0 units that were done before this process
function progress.new(label, total, options)
  options = options or {}
  local now = core.clock()
  return setmetatable({
    label = label, total = total, done = options.done or 0, first = options.done or 0, quiet = options.quiet,
    began = now, drawn = now, columns = core.terminal(), text = "",
  }, progress)
end

local function bar(share, width)
  local full = math.floor(share * width + 0.5)
  return ("█"):rep(full) .. ("░"):rep(width - full)
end

function progress:line(with_bar)
  local elapsed = math.max(core.clock() - self.began, 1e-9)
  local rate = (self.done - self.first) / elapsed
  local share = math.min(1, self.done / math.max(1, self.total))
  local left = rate > 0 and progress.duration((self.total - self.done) / rate) or "?"
  return ("%s %s%3d%%  %s  %s images/s  %s"):format(self.label, with_bar and bar(share, 20) .. " " or "",
    math.floor(share * 100), self.text, (rate < 1 and "%.2f" or "%.0f"):format(rate),
    self.done < self.total and "ETA " .. left or progress.duration(elapsed))
end

--- n more units are done; text says how it goes ("loss 0.31").
function progress:advance(n, text)
  self.done = self.done + n
  self.text = text
  if self.quiet then return end
  local now = core.clock()
  if self.columns and now - self.drawn >= REDRAW_EVERY then
    io.stderr:write("\r\27[K", self:clip(self:line(true)))
    self.drawn = now
  elseif not self.columns and self.done < self.total and now - self.drawn >= PLAIN_EVERY then
    io.stderr:write(self:line(false), "\n")
    self.drawn = now
  end
end

--- The line cut to the terminal's width: a wrapped line would not redraw.
function progress:clip(line)
  local stop = utf8.offset(line, self.columns)
  return stop and line:sub(1, stop - 1) or line
end

--- Done, or given up: leaves one line behind.
function progress:finish(text)
  if text then self.text = text end
  if self.quiet then return end
  if self.columns then io.stderr:write("\r\27[K") end
  io.stderr:write(self:line(false), "\n")
end

return progress
