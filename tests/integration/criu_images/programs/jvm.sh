mkdir /srv/jvm
javac -d /srv/jvm /programs/Counter.java
exec java -Xmx64m -cp /srv/jvm Counter /srv/jvm/socket
