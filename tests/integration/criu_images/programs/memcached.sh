mkdir /srv/memcached
exec memcached -u root -s /srv/memcached/socket -t 4 -m 16
