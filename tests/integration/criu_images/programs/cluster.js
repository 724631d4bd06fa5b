// Two workers that share a listening socket of the primary's, which counts what they tell it over their channels.
const cluster = require("node:cluster");
const http = require("node:http");

if (cluster.isPrimary) {
    let count = 0;
    for (let i = 0; i < 2; i++) {
        cluster.fork().on("message", function () { this.send(++count); });
    }
} else {
    http.createServer((request, response) => {
        process.once("message", (count) => response.end(`${count}\n`));
        process.send("asked");
    }).listen(process.argv[2]);
}
