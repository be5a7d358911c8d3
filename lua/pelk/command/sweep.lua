--- pelk sweep.
local core = require("pelk.core")
local flags = require("pelk.command.flags")
local sweep = require("pelk.sweep")
local worker = require("pelk.sweep.worker")

local command = {}

command.help = [[
pelk sweep FILE.lua [words]    run a script that calls pelk.sweep, or go on with its sweep
pelk sweep DIR [flags]         what a sweep found, finished or running

  pelk sweep sweeps/kernels.lua
  pelk sweep sweeps/kernels --sort params --format latex --output table.tex
  mpirun -np 8 pelk sweep sweeps/kernels.lua && pelk sweep sweeps/kernels --merge]]

command.flags = {
  { title = "Results" },
  { name = "sort", type = "string", default = "value", help = "value, seconds, a metric, a parameter's dotted name" },
  { name = "state", type = "string", help = "only trials in this state",
    choices = "done failed running paused stopped waiting" },
  { name = "format", type = "string", default = "text", help = "how the table is written",
    choices = "text csv markdown latex" },
  { name = "output", type = "string", help = "the file to write; standard output" },
  { name = "merge", type = "boolean", default = false, help = "make the journals of several shares one first" },
  { title = "Machine" },
  { name = "threads", type = "integer", help = "of a script's sweep that names none; all cores (PELK_NUM_THREADS)" },
}

local function run_script(path, words)
  local interrupted
  local run = sweep.run
  sweep.run = function(given) -- to end with the signal's status
    local results = run(given)
    interrupted = results.interrupted or interrupted
    return results
  end
  worker.run_script { script = path, arguments = words }
  sweep.run = run
  return interrupted and ({ SIGINT = 130, SIGTERM = 143, SIGUSR1 = 138 })[interrupted] or 0
end

local function text_of(results, format)
  if format == "text" then return tostring(results) .. "\n" end
  return results[format](results)
end

local function show(v, dir)
  if v.merge then
    local merged, message = sweep.merge(dir)
    if not merged then error(message, 0) end
  end
  local results, message = sweep.read(dir)
  if not results then error(message, 0) end
  results = results:sort(v.sort)
  if v.state then results = results:filter(function(r) return r.state == v.state end) end
  local text = text_of(results, v.format)
  if not v.output then
    io.stdout:write(text)
    return 0
  end
  local ok, why = core.write_file(v.output, text)
  if not ok then error(why, 0) end
  return 0
end

command.takes_words = true

function command.run(v, _, words)
  local what = table.remove(words, 1)
  if not what then flags.wrong("sweep wants a script or a sweep's folder: pelk sweep FILE.lua, pelk sweep DIR") end
  if v.threads then core.set_threads(v.threads) end
  if what:find("%.lua$") then return run_script(what, words) end
  if #words > 0 then flags.wrong("sweep wants one folder, got '%s' too", words[1]) end
  return show(v, what)
end

return command
