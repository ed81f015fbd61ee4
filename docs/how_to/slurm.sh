#!/bin/bash
# Trains on several nodes and requeues itself: sbatch docs/how_to/slurm.sh --config=configs/sst.yaml
#SBATCH --job-name=srulight
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=4
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
# SLURM signals every process two minutes before the time limit. One step and one checkpoint must fit
# into these two minutes.
#SBATCH --signal=USR1@120

srun python train.py fit "$@" --ckpt_path=auto --trainer.strategy=ddp \
    --trainer.num_nodes="$SLURM_NNODES" --trainer.devices="$SLURM_NTASKS_PER_NODE"
status=$?

# Exit status 143 means that training was asked to stop and has saved a checkpoint. A job that was
# canceled is no longer running and must not restart; SLURM itself requeues a job that it preempts.
if [ "$status" = 143 ] && scontrol show job "$SLURM_JOB_ID" | grep -q JobState=RUNNING; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
