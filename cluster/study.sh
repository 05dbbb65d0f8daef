#!/usr/bin/env bash
# The study on a Slurm cluster, as three jobs: what the cells share, the cells of the matrix, all that comes after.
#
#     bash cluster/study.sh AT_ONCE [OPTION of sbatch]...
#
# At most AT_ONCE cells train at the same time; the options (partition, GPU, memory, time limit) hold for every job.
set -euo pipefail
cd "$(dirname "$0")/.."
if [[ ! ${1-} =~ ^[1-9][0-9]*$ ]]; then
  echo "error: say how many cells may train at the same time: bash cluster/study.sh AT_ONCE [OPTION of sbatch]..." >&2
  exit 1
fi
at_once=$1 options=("${@:2}")

# submit NAME LOG OPTION... SCRIPT TARGET...: the job's number
submit() {
  local job
  job=$(sbatch --parsable --job-name="$1" --output="logs/slurm/$2" "${options[@]}" "${@:3}")
  echo "${job%%;*}" # without the cluster's name, which some sites add
}

names=$(dvc stage list --name-only train) # an assignment of its own, whose failure ends the script
mapfile -t cells <<<"$names"
mkdir -p logs/slurm # what a job prints is lost where the folder of its log is missing
prepare=$(submit prepare %x-%A.log cluster/repro.sbatch augment weights)
train=$(submit train %x-%A_%a.log --dependency="afterok:$prepare" --array="0-$((${#cells[@]} - 1))%$at_once" \
  cluster/repro.sbatch "${cells[@]}")
finish=$(submit finish %x-%A.log --dependency="afterok:$train" cluster/repro.sbatch)
echo "Submitted: prepare $prepare, train $train with ${#cells[@]} cells, finish $finish. Logs: logs/slurm"
