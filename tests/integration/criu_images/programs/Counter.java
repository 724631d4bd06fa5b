import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Executors;
import java.util.concurrent.ExecutorService;

/** Keeps every number that it was sent, works in a pool of threads, and answers with how many there are and their sum. */
public class Counter {
    public static void main(String[] args) throws Exception {
        List<Integer> numbers = new ArrayList<>();
        ExecutorService pool = Executors.newFixedThreadPool(4);
        try (var server = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
            server.bind(UnixDomainSocketAddress.of(args[0]));
            while (true) {
                try (var client = server.accept()) {
                    ByteBuffer buffer = ByteBuffer.allocate(16);
                    client.read(buffer);
                    numbers.add(Integer.parseInt(new String(buffer.array(), 0, buffer.position()).trim()));
                    int sum = pool.submit(() -> numbers.stream().mapToInt(Integer::intValue).sum()).get();
                    client.write(ByteBuffer.wrap((numbers.size() + " " + sum + "\n").getBytes()));
                }
            }
        }
    }
}
