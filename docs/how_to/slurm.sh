#!/bin/bash
# A run on several nodes that goes on by itself: sbatch docs/how_to/slurm.sh --config=configs/sst.yaml
#SBATCH --job-name=srulight
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=4
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
# Two minutes before the time is up every process hears of it; one step and a checkpoint must fit in.
#SBATCH --signal=USR1@120

srun python train.py fit "$@" --ckpt_path=auto --trainer.strategy=ddp \
    --trainer.num_nodes="$SLURM_NNODES" --trainer.devices="$SLURM_NTASKS_PER_NODE"
status=$?

# 143: it was asked to stop, and has saved. What was cancelled is no longer running and stays ended;
# what is preempted is put back by SLURM.
if [ "$status" = 143 ] && scontrol show job "$SLURM_JOB_ID" | grep -q JobState=RUNNING; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
