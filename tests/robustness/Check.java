// SPDX-License-Identifier: GPL-2.0-only
// A Java program at work, that checks all it does: java Check.java PROGRESS_FILE
//
// The virtual machine uses signals itself: SIGSEGV for null pointers, full stacks and to bring threads to a stop. Here
// all of that happens all the time, beside a garbage collector that moves objects.
import java.io.RandomAccessFile;
import java.nio.LongBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;

public class Check {
	interface Job {
		void run(long turn) throws Exception;
	}

	static volatile boolean stopping;
	static final int BLOCKS = 1024, BLOCK_LONGS = 2048;
	static final long[][] kept = new long[BLOCKS][];
	static volatile Object sink;

	static void fail(String message) {
		System.err.println(message);
		System.err.flush();
		Runtime.getRuntime().halt(3);
	}

	static long content(long block, int i) {
		return (block * 31 + i) * 0x9e3779b97f4a7c15L;
	}

	static long[] newBlock(int block) {
		long[] words = new long[BLOCK_LONGS];
		for (int i = 0; i < BLOCK_LONGS; i++)
			words[i] = content(block, i);
		return words;
	}

	static void checkKept(int block) {
		long[] words = kept[block];
		for (int i = 0; i < BLOCK_LONGS; i++)
			if (words[i] != content(block, i))
				fail("memory: word " + i + " of block " + block + " has changed");
	}

	// One block after the other is made anew, so that the collector has work and long-lived objects move.
	static void blocks(long turn) {
		int block = (int) (turn % BLOCKS);
		checkKept(block);
		kept[block] = newBlock(block);
		byte[][] garbage = new byte[16][];
		for (int i = 0; i < garbage.length; i++)
			garbage[i] = new byte[4096];
		sink = garbage;
	}

	static void hashes(long turn) throws Exception {
		byte[] first = chain(turn), second = chain(turn);
		if (!Arrays.equals(first, second))
			fail("hashes differ");
	}

	static byte[] chain(long turn) throws Exception {
		MessageDigest sha = MessageDigest.getInstance("SHA-256");
		byte[] digest = Long.toString(turn).getBytes();
		for (int i = 0; i < 100; i++)
			digest = sha.digest(digest);
		return digest;
	}

	static void nulls(long turn) {
		String text = turn % 2 == 0 ? null : "x";
		try {
			if (text.length() != 1 || turn % 2 == 0)
				fail("null has a length");
		} catch (NullPointerException expected) {
			if (turn % 2 != 0)
				fail("null instead of a text");
		}
	}

	static int depth(int level) {
		return depth(level + 1) + 1;
	}

	static void stacks(long turn) {
		try {
			depth(0);
			fail("endless recursion has ended");
		} catch (StackOverflowError expected) {
			sink = expected;
		}
	}

	static void sleeps(long turn) {
		long askedNs = 10_000_000 * (turn % 3 + 1), before = System.nanoTime();
		while (System.nanoTime() - before < askedNs)
			LockSupport.parkNanos(askedNs - (System.nanoTime() - before));
		long elapsedNs = System.nanoTime() - before;
		if (elapsedNs > 2 * askedNs + 2_000_000_000L)
			fail("slept " + elapsedNs + " ns instead of " + askedNs);
	}

	static final BlockingQueue<Long> queue = new ArrayBlockingQueue<>(16);

	static void sends(long turn) throws Exception {
		while (!queue.offer(turn, 100, TimeUnit.MILLISECONDS))
			if (stopping)
				return;
	}

	static void receives(long turn) throws Exception {
		for (int patience = 0; patience < 100; patience++) {
			Long found = queue.poll(100, TimeUnit.MILLISECONDS);
			if (found != null) {
				if (found != turn)
					fail("event " + found + " instead of " + turn);
				return;
			}
			if (stopping)
				return;
		}
		fail("an event is lost");
	}

	static void keepDoing(LongBuffer progress, int place, Job job) {
		try {
			for (long turn = 1; !stopping; turn++) {
				job.run(turn);
				progress.put(place, turn);
			}
		} catch (Throwable error) {
			fail(job + ": " + error);
		}
	}

	public static void main(String[] arguments) throws Exception {
		LongBuffer progress = new RandomAccessFile(arguments[0], "rw").getChannel()
			.map(FileChannel.MapMode.READ_WRITE, 0, 512).order(ByteOrder.nativeOrder()).asLongBuffer();
		for (int block = 0; block < BLOCKS; block++)
			kept[block] = newBlock(block);
		List<Job> jobs = List.of(Check::blocks, Check::hashes, Check::nulls, Check::stacks, Check::sleeps, Check::sends,
			Check::receives);
		List<Thread> threads = new ArrayList<>();
		for (int place = 0; place < jobs.size(); place++) {
			final int mine = place;
			threads.add(new Thread(() -> keepDoing(progress, mine, jobs.get(mine))));
		}
		for (Thread thread : threads)
			thread.start();
		Runtime.getRuntime().addShutdownHook(new Thread(() -> {
			try {
				stopping = true;
				for (Thread thread : threads)
					thread.join();
				for (int block = 0; block < BLOCKS; block++)
					checkKept(block);
			} catch (InterruptedException error) {
				fail(error.toString());
			}
			Runtime.getRuntime().halt(0);
		}));
		System.out.println("{\"pid\": " + ProcessHandle.current().pid() + ", \"counters\": " + jobs.size()
			+ ", \"areas\": []}");
	}
}
