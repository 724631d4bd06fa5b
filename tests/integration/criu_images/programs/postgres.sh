# A cluster with its data under /srv; run as the user postgres, with an IPC namespace for its System V segment.
cd /
/usr/lib/postgresql/17/bin/initdb --pgdata=/srv/postgres/data --no-sync --auth=trust
exec /usr/lib/postgresql/17/bin/postgres -D /srv/postgres/data -k /srv/postgres -c listen_addresses=
