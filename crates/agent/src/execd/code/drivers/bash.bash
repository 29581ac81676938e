# Bash contexts, seen from inside. An interactive shell reads this, and then the code that it is to run, from descriptor
# 0, which is its connection to the agent; the code itself runs with an empty one. Interactive, because only such a shell
# goes on after an interrupt with all that it had.
unset MAILCHECK HISTFILE PROMPT_COMMAND TMOUT
PS1= PS2= PS4='+ '
set +H +o history
__atoll_begun() { builtin printf '{"type":"begun"}\n' >&0; }
# What code finds as the status of the last command: that of the code before it.
__atoll_again() { return "$__atoll_status"; }
__atoll_done() { builtin printf '{"type":"done","run":%d,"status":%d}\n' "$1" "$2" >&0; return "$2"; }
