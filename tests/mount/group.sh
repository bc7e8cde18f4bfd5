# SPDX-License-Identifier: Apache-2.0
# group.sh: a control group of LIMIT_MB of memory, in which a daemon can be
# started; behind lib.sh. Skips all where none can be made.
if [ -d /sys/fs/cgroup/memory ]; then
	ROOT=/sys/fs/cgroup/memory LIMIT=memory.limit_in_bytes
else
	ROOT=/sys/fs/cgroup LIMIT=memory.max
fi
GROUP=$ROOT/vgtest.$$
mkdir "$GROUP" 2>/dev/null && echo ${LIMIT_MB}M 2>/dev/null >"$GROUP/$LIMIT" ||
	skip_all "no control group for memory can be made here"
trap 'rc=$?; rmdir "$GROUP" 2>/dev/null; (exit $rc); clean_up' EXIT

# What is started after enter is in the group, this shell not after leave.
enter() { echo $$ >"$GROUP/cgroup.procs"; }
leave() { echo $$ >"$ROOT/cgroup.procs"; }

# Nothing in it had to be killed.
is_within() {
	grep -q "^oom_kill 0\|^under_oom 0" \
		"$GROUP/memory.oom_control" "$GROUP/memory.events" 2>/dev/null
}
