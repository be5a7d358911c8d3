--- Which part of a sweep this process takes when many run it: ranks of Open MPI or another launcher, tasks of a Slurm
-- array. Nothing is scheduled here: trial i of n shares belongs to share (i - 1) mod n + 1, whoever runs it.
local share = {}

local function pair(index, count)
  local i, n = math.tointeger(tonumber(os.getenv(index) or "")), math.tointeger(tonumber(os.getenv(count) or ""))
  if i and n and n > 0 and i >= 0 and i < n then return i, n end
end

--- {index = 1..count, count, from}: from the environment; {1, 1} alone.
function share.of_environment()
  local rank, ranks = pair("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE")
  local from = rank and "Open MPI"
  if not rank then
    rank, ranks = pair("PMI_RANK", "PMI_SIZE")
    from = rank and "MPI"
  end
  if not rank then
    rank, ranks = pair("SLURM_PROCID", "SLURM_NTASKS")
    from = rank and "Slurm"
  end
  rank, ranks = rank or 0, ranks or 1
  local task = os.getenv("SLURM_ARRAY_TASK_ID")
  local tasks = math.tointeger(tonumber(os.getenv("SLURM_ARRAY_TASK_COUNT") or ""))
  if task and tasks and tasks > 1 then
    local first = math.tointeger(tonumber(os.getenv("SLURM_ARRAY_TASK_MIN") or "")) or 0
    local step = math.tointeger(tonumber(os.getenv("SLURM_ARRAY_TASK_STEP") or "")) or 1
    local at = (math.tointeger(tonumber(task)) - first) // step
    if at >= 0 and at < tasks then rank, ranks, from = at * ranks + rank, tasks * ranks, "a Slurm array" end
  end
  return { index = rank + 1, count = ranks, from = from }
end

--- The trials of a share, in order.
function share.of(trials, mine)
  local out = {}
  for i, trial in ipairs(trials) do
    if (i - 1) % mine.count + 1 == mine.index then out[#out + 1] = trial end
  end
  return out
end

return share
