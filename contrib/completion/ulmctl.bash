# SPDX-License-Identifier: MIT
# bash completion for ulmctl, ulm and ulmd

_ulmctl()
{
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command= i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
            ask | status | watch | hello | reset) command=${COMP_WORDS[i]}; break ;;
            --socket) ((i++)) ;;
        esac
    done
    COMPREPLY=()
    case $before in
        --socket) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        --medium) mapfile -t COMPREPLY < <(compgen -W 'display speech' -- "$current"); return ;;
        --session | --context | --deadline-ms | --interval | --count) return ;;
    esac
    case $command in
        '') i='ask status watch hello reset --socket --help --version' ;;
        ask) i='--json --session --medium --context --deadline-ms --socket' ;;
        status) i='--json --prometheus --socket' ;;
        watch) i='--interval --count --socket' ;;
        hello | reset) i='--json --socket' ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$i" -- "$current")
}
complete -F _ulmctl ulmctl

_ulmd()
{
    local current=${COMP_WORDS[COMP_CWORD]}
    COMPREPLY=()
    case ${COMP_WORDS[COMP_CWORD - 1]} in
        --config | --model | --socket) mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
        *) mapfile -t COMPREPLY < <(compgen -W '--config --model --socket --check-config --version --help' \
            -- "$current") ;;
    esac
}
complete -F _ulmd ulmd

_ulm()
{
    local current=${COMP_WORDS[COMP_CWORD]} words
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        words='info tokenize logits opener generate quantize bench --help --version'
    else
        case ${COMP_WORDS[COMP_CWORD - 1]} in
            --kernels)
                mapfile -t COMPREPLY < <(compgen -W 'auto scalar avx2 avx512 neon dotprod' -- "$current")
                return ;;
        esac
        if [ "${COMP_WORDS[1]}" = quantize ] && ((COMP_CWORD == 4)); then
            mapfile -t COMPREPLY < <(compgen -W 'F32 F16 Q8_0 Q4_0' -- "$current")
            return
        fi
        case ${COMP_WORDS[1]}:$current in
            *:[!-]* | *:) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
            tokenize:*) words='-m --special' ;;
            logits:*) words='-m --ids -t --kernels' ;;
            opener:*) words='-m --json --context --min-words --max-words --beam --temperature --top-p
                             --seed --no-guard --system -t --kernels' ;;
            generate:*) words='-m --raw -n --ids -t --kernels' ;;
            bench:*) words='-m -p -n -t -r --json --kernels' ;;
            *) words= ;;
        esac
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}
complete -F _ulm ulm
