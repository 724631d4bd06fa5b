# Data in memory and in an append-only file, a Unix socket.
mkdir /srv/redis
exec redis-server --port 0 --unixsocket /srv/redis/socket --dir /srv/redis --appendonly yes --save '' --daemonize no
