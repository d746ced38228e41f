#!/bin/bash
# What an agent does over the network, by the tools that it has. Each argument is a tool and the versions of IP that it
# is to use, as `curl:46`, or a file to read, as `read:/etc/hosts`, or a directory to look for tokens in, as `find:/etc`. Of each attempt it says what came of it:
#   == TOOL VERSION
#   what the tool printed
#   -- STATUS
# tests/src/egress is the other side. Nothing here reads a credential, but for `read:`, `find:` and what is called `own-`.
here=${0%/*}
export PATH=/usr/lib/postgresql/15/bin:$PATH
authority=/srv/far/ca.crt
export CURL_CA_BUNDLE=$authority GIT_SSL_CAINFO=$authority REQUESTS_CA_BUNDLE=$authority
export NODE_EXTRA_CA_CERTS=$authority AWS_CA_BUNDLE=$authority PGSSLROOTCERT=$authority
export PGSSLMODE=verify-full PGUSER=agent PGDATABASE=postgres
export AWS_DEFAULT_REGION=us-east-1 AWS_PAGER='' AWS_EC2_METADATA_DISABLED=true
# One attempt: a client that asks again by itself would ask the approver again.
export AWS_MAX_ATTEMPTS=1
# So that git says why it cannot connect.
export GIT_CURL_VERBOSE=1

where="select 'production at ' || host(inet_server_addr()) from pg_stat_ssl where ssl and pid = pg_backend_pid()"
# The exchange of keys that it would choose takes emulation a second.
client=(ssh -n -o BatchMode=yes -o KexAlgorithms=curve25519-sha256 -o UserKnownHostsFile=/srv/far/known_hosts)

attempt() {
    echo "== $1 $2"
    "$1" "$2" 2>&1
    echo "-- $?"
}

psql() { PGPASSFILE=~/work/pgpass command psql -qAt -h "db$1.prod.example" -c "$where"; }
own-psql() { command psql -qAt -h "db$1.prod.example" -c "$where"; }
curl() { command curl -sSv "${@:2}" "https://www$1.prod.example/where"; }
own-curl() { curl "$1" --netrc; }
both-curl() { command curl -sSv https://www.prod.example/where; }
docs() { command curl -sS "http://docs$1.example/" "https://docs$1.example/"; }
git() { command git ls-remote "https://www$1.prod.example/git/site.git" main; }
# It looks into ~/.netrc by itself.
own-git() { git "$1"; }
ssh() { command "${client[@]}" -i ~/work/key -o IdentitiesOnly=yes "root@ssh$1.prod.example"; }
own-ssh() { command "${client[@]}" "root@ssh$1.prod.example"; }
aws() {
    AWS_SHARED_CREDENTIALS_FILE=~/work/aws AWS_CONFIG_FILE=/nonexistent \
        command aws --endpoint-url "https://www$1.prod.example" sts get-caller-identity --query Account --output text
}

for argument; do
    tool=${argument%%:*} rest=${argument#*:}
    case $tool in
    read) cat "$rest" >/dev/null || exit ;;
    find) grep -rn TOKEN "$rest" ;;
    # A start of these takes seconds under emulation: one does for all versions.
    python) NETRC=/nonexistent python3 "$here/reach.py" "$rest" ;;
    node) node "$here/reach.js" "$rest" ;;
    *) for ((at = 0; at < ${#rest}; at++)); do attempt "$tool" "${rest:at:1}"; done ;;
    esac
done
exit 0
