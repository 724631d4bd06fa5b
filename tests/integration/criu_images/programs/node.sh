mkdir /srv/node

exec /opt/llmux/bin/python /programs/without_io_uring.py node /programs/cluster.js /srv/node/socket
