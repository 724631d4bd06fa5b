mkdir /srv/multiprocessing
exec python3 /programs/pool.py /srv/multiprocessing/socket
