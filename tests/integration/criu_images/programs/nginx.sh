# Three workers in front of another server's Unix socket; the connections to it are kept open.
mkdir /srv/nginx
cat > /srv/nginx/nginx.conf <<'END'
user root;
worker_processes 3;
daemon off;
pid /srv/nginx/pid;
error_log /srv/nginx/error.log;
events {}
http {
    access_log /srv/nginx/access.log;
    upstream app { server unix:/srv/nginx/app.sock; keepalive 4; }
    server {
        listen 8080 reuseport;
        location / { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; }
        location /worker { return 200 "$pid\n"; }
    }
}
END
python3 /programs/nginx_app.py /srv/nginx/app.sock &
exec nginx -c /srv/nginx/nginx.conf
