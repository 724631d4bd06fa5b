# A worker with two processes, and the broker between it and who asks.
mkdir /srv/celery
redis-server --port 0 --unixsocket /srv/celery/socket --dir /srv/celery --save '' --daemonize no &
while ! test -S /srv/celery/socket; do sleep 0.05; done
export PYTHONPATH=/programs
exec python3 -m celery --app tasks worker --concurrency 2 --without-gossip --without-mingle --loglevel WARNING
