# Runs code ($2) in the state that the session ($1) was left in, in the folder $3 if it is not empty.
__atoll_mark=$ATOLL_EXEC
. "$1" >/dev/null 2>&1
ATOLL_EXEC=$__atoll_mark __atoll_state=$1 __atoll_code=$2 __atoll_saved= __atoll_back= __atoll_folder=
if [[ -n $3 ]]; then
    __atoll_back=$PWD
    cd -- "$3" || exit
    __atoll_folder=$PWD
fi
__atoll_save() {
    [[ -n $__atoll_saved ]] && return
    __atoll_saved=1
    local folder=$PWD
    # The folder of one run does not stay, unless the code went elsewhere from it.
    [[ -n $__atoll_back && $PWD == "$__atoll_folder" ]] && folder=$__atoll_back
    {
        declare -f
        alias -p
        shopt -p
        printf 'cd -- %q\n' "$folder"
        unset __atoll_code __atoll_mark folder
        declare -p
        # Last: what is restored before would end a shell with `errexit` where it is read-only.
        set +o
    } 2>/dev/null >|"$__atoll_state"
}
trap __atoll_save EXIT
set --
eval "$__atoll_code"
__atoll_status=$?
__atoll_save
exit "$__atoll_status"
