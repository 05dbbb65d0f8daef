#!/usr/bin/env bash
# Run the study on a Slurm cluster as three jobs: the shared inputs, the cells of the matrix `train`, and the rest.
#
#     bash cluster/study.sh AT_ONCE [OPTION of sbatch]...
#
# At most AT_ONCE cells train at the same time. The options (partition, GPU, memory, time limit) apply to every job.
set -euo pipefail
cd "$(dirname "$0")/.."
if [[ ! ${1-} =~ ^[1-9][0-9]*$ ]]; then
  echo "error: the first argument must be the number of cells that train at the same time: bash cluster/study.sh AT_ONCE [OPTION of sbatch]..." >&2
  exit 1
fi
at_once=$1 options=("${@:2}")

# submit NAME LOG OPTION... SCRIPT TARGET...: print the ID of the job
submit() {
  local job
  job=$(sbatch --parsable --job-name="$1" --output="logs/slurm/$2" "${options[@]}" "${@:3}")
  echo "${job%%;*}" # without the name of the cluster, which some sites add
}

names=$(dvc stage list --name-only train) # a separate assignment, so that a failure ends the script
mapfile -t cells <<<"$names"
mkdir -p logs/slurm # without the folder of its log, the output of a job is lost
prepare=$(submit prepare %x-%A.log cluster/repro.sbatch augment weights)
train=$(submit train %x-%A_%a.log --dependency="afterok:$prepare" --array="0-$((${#cells[@]} - 1))%$at_once" \
  cluster/repro.sbatch "${cells[@]}")
finish=$(submit finish %x-%A.log --dependency="afterok:$train" cluster/repro.sbatch)
echo "Submitted: prepare $prepare, train $train with ${#cells[@]} cells, finish $finish. Logs: logs/slurm"
