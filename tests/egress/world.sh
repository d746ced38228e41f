#!/bin/sh
# Makes the world of the egress scenarios in $1: in a network namespace `far` production, a site of documentation and a
# name server, each a real server; here the road to them and the home of an agent who has credentials. Ends when all of
# them answer. tests/src/egress is the other side.
set -eu
cd "$1"
here=$1
home=/home/agent
postgres=/usr/lib/postgresql/15/bin

far() { nsenter --net=/run/netns/far "$@"; }
as_postgres() { far setpriv --reuid postgres --regid postgres --init-groups "$@"; }
# How long it may take is the other side's to say.
wait_until() { until "$@" >/dev/null 2>&1; do sleep 0.2; done; }

# 192.0.2.0/24 and 2001:db9:1::/64 are the road. 203.0.113.0/24 and 2001:db8::/32 are production.
ip netns add far
ip link add near type veth peer name wire netns far
far ip link set lo up
for address in 203.0.113.10 203.0.113.20 203.0.113.30 203.0.113.53 198.51.100.20 198.51.100.53; do
    far ip address add "$address/32" dev lo
done
for address in 2001:db8::10 2001:db8::20 2001:db8::30 2001:db8::53 2001:db9::20; do
    far ip address add "$address/128" dev lo nodad
done
far ip address add 192.0.2.2/24 dev wire
far ip address add 2001:db9:1::2/64 dev wire nodad
far ip link set wire up
ip address add 192.0.2.1/24 dev near
ip address add 2001:db9:1::1/64 dev near nodad
ip link set near up
ip route add default via 192.0.2.2
ip -6 route add default via 2001:db9:1::2 dev near
echo 'nameserver 198.51.100.53' >/etc/resolv.conf

# The cloud first, since its start takes longest.
far env PYTHONPATH=/opt/moto python3 -m moto.server -H 127.0.0.1 -p 5000 >cloud.log 2>&1 &

cat >dnsmasq.conf <<END
no-resolv
no-hosts
bind-interfaces
listen-address=198.51.100.53
local=/example/
host-record=db4.prod.example,203.0.113.10
host-record=db6.prod.example,2001:db8::10
host-record=www4.prod.example,203.0.113.20
host-record=www6.prod.example,2001:db8::20
host-record=www.prod.example,203.0.113.20,2001:db8::20
host-record=ssh4.prod.example,203.0.113.30
host-record=ssh6.prod.example,2001:db8::30
host-record=docs4.example,198.51.100.20
host-record=docs6.example,2001:db9::20
log-queries
log-facility=$here/dns.log
pid-file=$here/dnsmasq.pid
user=root
END
far dnsmasq --conf-file="$here/dnsmasq.conf"

# What production answers by datagrams; not at the port of name servers, where a session's lookups go elsewhere.
cat >datagrams.conf <<END
port=5300
no-resolv
no-hosts
bind-interfaces
listen-address=203.0.113.53,2001:db8::53
address=/udp.prod.example/203.0.113.99
log-queries
log-facility=$here/datagrams.log
pid-file=$here/datagrams.pid
user=root
END
far dnsmasq --conf-file="$here/datagrams.conf"

# One certificate, and its own authority.
names='DNS:*.prod.example,DNS:docs4.example,DNS:docs6.example'
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=far.example \
    -addext "subjectAltName=$names" -keyout far.key -out ca.crt 2>/dev/null

mkdir git
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
git init --quiet --bare --initial-branch=main git/site.git
tree=$(git -C git/site.git mktree </dev/null)
git -C git/site.git update-ref refs/heads/main "$(git -C git/site.git commit-tree -m begin "$tree")"
git -C git/site.git update-server-info

cat >nginx.conf <<END
pid $here/nginx.pid;
error_log $here/nginx.log;
events {}
http {
    access_log off;
    default_type text/plain;
    ssl_certificate $here/ca.crt;
    ssl_certificate_key $here/far.key;
    server {
        listen 198.51.100.20:80;
        listen 198.51.100.20:443 ssl;
        listen [2001:db9::20]:80;
        listen [2001:db9::20]:443 ssl;
        location / { return 200 "documentation at \$server_addr\n"; }
    }
    server {
        listen 203.0.113.20:443 ssl;
        listen [2001:db8::20]:443 ssl;
        access_log $here/production.log;
        location = /where { return 200 "production at \$server_addr\n"; }
        location /git/ { root $here; }
        location / {
            proxy_pass http://127.0.0.1:5000;
            proxy_set_header Host \$http_host;
        }
    }
}
END
far nginx -c "$here/nginx.conf"

cp far.key postgres.key
chown postgres postgres.key
chmod 0400 postgres.key
cat >postgresql.conf <<END
data_directory = '/var/lib/postgresql/15/main'
hba_file = '$here/hba.conf'
ident_file = '$here/ident.conf'
listen_addresses = '203.0.113.10,2001:db8::10'
unix_socket_directories = ''
shared_buffers = 16MB
fsync = off
ssl = on
ssl_cert_file = '$here/ca.crt'
ssl_key_file = '$here/postgres.key'
END
echo 'hostssl all agent all scram-sha-256' >hba.conf
: >ident.conf
echo "create role agent login password 'secret'" |
    as_postgres "$postgres/postgres" --single -c config_file="$here/postgresql.conf" postgres >/dev/null
as_postgres "$postgres/postgres" -c config_file="$here/postgresql.conf" >postgres.log 2>&1 &

ssh-keygen -q -t ed25519 -N '' -C far -f host_key
ssh-keygen -q -t ed25519 -N '' -C agent -f agent_key
cp agent_key.pub authorized_keys
echo "ssh4.prod.example,ssh6.prod.example $(cat host_key.pub)" >known_hosts
cat >sshd_config <<END
ListenAddress 203.0.113.30
ListenAddress [2001:db8::30]
HostKey $here/host_key
AuthorizedKeysFile $here/authorized_keys
PasswordAuthentication no
PermitRootLogin prohibit-password
PidFile $here/sshd.pid
ForceCommand set -- \$SSH_CONNECTION; echo production at \$3
END
mkdir -p /run/sshd
far /usr/sbin/sshd -f "$here/sshd_config" -E "$here/sshd.log"

mkdir -p $home/.aws $home/.ssh $home/work
printf '[default]\naws_access_key_id = owner\naws_secret_access_key = secret\n' >$home/.aws/credentials
echo '*:5432:*:agent:secret' >$home/.pgpass
cp agent_key $home/.ssh/id_ed25519
# The same where no label says what it is: tools would not get far without.
cp $home/.aws/credentials $home/work/aws
cp $home/.pgpass $home/work/pgpass
cp agent_key $home/work/key
chmod 0600 $home/.pgpass $home/.aws/credentials $home/.ssh/id_ed25519 $home/work/*
chown -R agent:agent $home

wait_until far "$postgres/pg_isready" -h 203.0.113.10
# A first call, for which the cloud loads what serves it.
wait_until far curl --silent --fail --data 'Action=GetCallerIdentity&Version=2011-06-15' --header \
    'Authorization: AWS4-HMAC-SHA256 Credential=owner/20260101/us-east-1/sts/aws4_request, SignedHeaders=host, Signature=0' \
    http://127.0.0.1:5000/
