#!/usr/bin/env bash
# The study on a Slurm cluster, as three jobs: what the cells share, the cells of the matrix, all that comes after.
#
#     cluster/study.sh AT_ONCE [OPTION OF sbatch]...
#
# At most AT_ONCE cells train at the same time; the options (partition, GPU, memory, time limit) hold for every job.
set -euo pipefail
cd "$(dirname "$0")/.."
at_once=${1:?"how many cells may train at the same time: cluster/study.sh AT_ONCE [OPTION OF sbatch]..."}
options=("${@:2}")
mkdir -p logs/slurm # Slurm drops what a job prints where the folder of its log is missing

# submit JOB LOG OPTION... -- TARGET...: the job's number
submit() {
  local id
  id=$(sbatch --parsable --job-name="$1" --output="logs/slurm/$2" "${options[@]}" "${@:3}")
  echo "${id%%;*}" # without the cluster's name, which some sites add
}

stages=$(dvc stage list --name-only)
mapfile -t cells < <(grep '^train@' <<<"$stages")
after=(--kill-on-invalid-dep=yes --dependency) # a job whose turn cannot come goes, rather than wait for ever
prepare=$(submit prepare %x-%A.log cluster/repro.sbatch augment weights)
train=$(submit train %x-%A_%a.log "${after[@]}" "afterok:$prepare" --array="0-$((${#cells[@]} - 1))%$at_once" \
  cluster/repro.sbatch "${cells[@]}")
finish=$(submit finish %x-%A.log "${after[@]}" "afterok:$train" cluster/repro.sbatch)
echo "Submitted: prepare $prepare, train $train with ${#cells[@]} cells, finish $finish. Logs: logs/slurm"
