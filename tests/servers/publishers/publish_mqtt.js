// PORT VERSION QOS TOPIC CA: publishes each line of standard input with npm's mqtt.
const fs = require("fs");
const mqtt = require("mqtt");

// It does not look at what the server takes at a time (Receive Maximum).
const AT_ONCE = 50;
const [port, version, qos, topic, ca] = process.argv.slice(2);
const client = mqtt.connect({
  host: "127.0.0.1",
  port: Number(port),
  protocol: ca ? "mqtts" : "mqtt",
  protocolVersion: version === "5" ? 5 : 4,
  reconnectPeriod: 0,
  ...(ca ? { ca: fs.readFileSync(ca) } : {}),
});
client.on("error", (error) => {
  console.error(String(error));
  process.exit(1);
});
client.on("connect", async () => {
  const lines = fs.readFileSync(0, "utf8").split("\n").slice(0, -1);
  for (let start = 0; start < lines.length; start += AT_ONCE) {
    const some = lines.slice(start, start + AT_ONCE);
    await Promise.all(some.map((line) => client.publishAsync(topic, line, { qos: Number(qos) })));
  }
  await client.endAsync();
});
