--- The `pelk` command: train, eval, predict, summary, export, bench, sweep.
-- Exit status: 0 done, 1 failed, 2 wrong use; 128 + the signal's number (130 SIGINT, 143 SIGTERM, 138 SIGUSR1) when a
-- signal stopped training and the state is saved.
-- @module pelk.command

local flags = require("pelk.command.flags")
local options = require("pelk.options")

local commands = { "train", "eval", "predict", "summary", "export", "bench", "sweep" }

local overview = [[
pelk: train and use large-kernel ConvNets on CPUs.

  pelk train    train a model, or go on with a run
  pelk eval     accuracy of trained weights on a data set
  pelk predict  what pictures show
  pelk summary  layers, parameters and operations of a model
  pelk export   weights for other programs: safetensors, merged for inference, ONNX
  pelk bench    how fast a model trains and infers on this machine
  pelk sweep    run a sweep's script, or show what a sweep found

pelk COMMAND --help explains a command. A first run, four minutes on two cores:

  pelk train --data_set fashion_mnist --model pelk_nano --epochs 4 --output_dir runs/first
  pelk eval --run runs/first

Exit status: 0 done, 1 failed, 2 wrong use, 130 / 143 / 138 stopped by Ctrl-C / SIGTERM / SIGUSR1 with the state saved
(the same command with --resume goes on).]]

local function help_of(command)
  return ("%s\n%s"):format(command.help, flags.describe(command.flags))
end

--- Does the list hold a request for help?
local function wants_help(words)
  for _, word in ipairs(words) do
    if word == "--help" or word == "-h" then return true end
  end
  return false
end

local function run(words)
  local name = table.remove(words, 1)
  if not name or name == "--help" or name == "-h" or name == "help" and not words[1] then
    io.stdout:write(overview, "\n")
    return name and 0 or 2
  end
  if name == "--version" then
    io.stdout:write(tostring(require("pelk")), "\n")
    return 0
  end
  if name == "help" then name, words = words[1], { "--help" } end
  local known = false
  for _, command in ipairs(commands) do known = known or command == name end
  if not known then
    flags.wrong("unknown command '%s'%s (commands: %s)", name, options.hint(name, commands),
      table.concat(commands, ", "))
  end
  require("pelk")
  local command = require("pelk.command." .. name)
  if wants_help(words) then
    io.stdout:write(help_of(command), "\n")
    return 0
  end
  local values, given, rest = flags.read(command.flags, words)
  if rest[1] and not command.takes_words then
    flags.wrong("pelk %s: '%s' stands alone: flags are --NAME VALUE, and those that are on or off take true or false",
      name, rest[1])
  end
  return command.run(values, given, rest)
end

--- Run the command line.
-- @tab words without the program's name
-- @treturn int the exit status
return function(words)
  io.stdout:setvbuf("line")
  local ok, status = xpcall(run, function(message)
    if getmetatable(message) == flags.Usage or type(message) ~= "string" then return message end
    return os.getenv("PELK_TRACEBACK") and debug.traceback(message, 2) or message
  end, { table.unpack(words) })
  if ok then return status or 0 end
  if getmetatable(status) == flags.Usage then
    io.stderr:write("pelk: ", status.text, "\nTry: pelk --help\n")
    return 2
  end
  io.stderr:write("pelk: ", (tostring(status):gsub("^[^:%s]*:%d+: ", "")), "\n")
  return 1
end
