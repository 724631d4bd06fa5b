# An X server and a program with a window.
Xvfb :7 -screen 0 320x240x24 -nolisten tcp -noreset &
while ! test -S /tmp/.X11-unix/X7; do sleep 0.05; done
exec xclock -display :7 -digital -strftime llmux -update 60 -geometry 200x50+10+20 -title the-clock
