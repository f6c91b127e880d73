// DDR memory behind AXI4 ports, for simulation: latency, shared bandwidth, random stalls, faults, and checks of the master.
//
// Ports 0 .. PORTS-1 read and write; port PORTS only reads. All share one memory and one budget of bytes per cycle. Where
// it is too small, every channel of data that wants a beat gets an equal share, reads and writes alike. Reads of a port
// are answered in order, and so are its writes. Every output is a register, so nothing passes through in the same cycle.
//
// Plusargs, read once; the variables of the same names may also be written while it runs (the faults between two runs):
//   +image=FILE +image_base=HEX   binary image, loaded at that address
//   +latency=N       cycles from the transfer of an address to the first beat, of the last write beat to its response
//                    (100; at least 2)
//   +bandwidth=N     bytes per cycle of all ports together (64)
//   +stall_ar=N ...  percent of cycles in which a channel pauses: stall_ar, stall_r, stall_aw, stall_w, stall_b (0)
//   +seed=N          of the stalls (1)
//   +err_addr=HEX +err_resp=N     read beats of that word, and write bursts that touch it, are answered with 1, 2 or 3
//   +dead_port=N +dead_after=N    after that many bursts, reads of the port are accepted and never answered
//   +dead_write_port=N +dead_writes_after=N   the same for writes of a port
//   +window_bytes=N               bytes from the first address that the master may touch (all)
//   +aw_after_w=1                 write addresses are accepted only while write data wait for theirs
//   +dump=FILE +dump_base=HEX +dump_bytes=N   what to write to a file when `dump` rises
//
// The plusargs of dram.sv put a DRAM behind it that is not always ready; without them there is none.
//
// Addresses outside the memory are answered with DECERR. Violations are sticky in `viol`:
//   bit 0  burst crosses 4 KiB                 bit 3  WLAST on another beat than the last
//   bit 1  burst outside memory or window      bit 4  more bursts in flight than MAX_OUTSTANDING
//   bit 2  valid withdrawn, or payload changed bit 5  burst not incrementing, not of full width, or not aligned

module ddr #(
    parameter int PORTS = 4,              // that read and write; one more only reads
    parameter int ADDR_BITS = 40,
    parameter int DATA_BITS = 128,
    parameter longint BASE = 64'h1000_0000, // first address of the memory
    parameter int BYTES = 1 << 25,        // size of the memory; a multiple of 4,096
    parameter int MAX_OUTSTANDING = 16    // bursts in flight that a port may have, reads and writes each
) (
    input  logic                              clk,
    input  logic                              rst,  // forgets all bursts, stalls start anew; the memory keeps its contents

    input  logic [PORTS:0]                    arvalid,
    output logic [PORTS:0]                    arready,
    input  logic [PORTS:0][ADDR_BITS-1:0]     araddr,
    input  logic [PORTS:0][7:0]               arlen,
    input  logic [PORTS:0][2:0]               arsize,
    input  logic [PORTS:0][1:0]               arburst,
    output logic [PORTS:0]                    rvalid,
    input  logic [PORTS:0]                    rready,
    output logic [PORTS:0][DATA_BITS-1:0]     rdata,
    output logic [PORTS:0][1:0]               rresp,
    output logic [PORTS:0]                    rlast,

    input  logic [PORTS-1:0]                  awvalid,
    output logic [PORTS-1:0]                  awready,
    input  logic [PORTS-1:0][ADDR_BITS-1:0]   awaddr,
    input  logic [PORTS-1:0][7:0]             awlen,
    input  logic [PORTS-1:0][2:0]             awsize,
    input  logic [PORTS-1:0][1:0]             awburst,
    input  logic [PORTS-1:0]                  wvalid,
    output logic [PORTS-1:0]                  wready,
    input  logic [PORTS-1:0][DATA_BITS-1:0]   wdata,
    input  logic [PORTS-1:0][DATA_BITS/8-1:0] wstrb,
    input  logic [PORTS-1:0]                  wlast,
    output logic [PORTS-1:0]                  bvalid,
    input  logic [PORTS-1:0]                  bready,
    output logic [PORTS-1:0][1:0]             bresp,

    input  logic                              dump,       // rising edge: write the region to the file
    output logic [5:0]                        viol,       // sticky until reset
    output logic [7:0]                        viol_port,  // of the first violation
    output logic [ADDR_BITS-1:0]              viol_addr,  // address on the channel of the first violation
    output logic [PORTS:0][47:0]              read_bytes, // since reset
    output logic [47:0]                       written_bytes  // of all ports
);
    localparam int WORD = DATA_BITS / 8;  // bytes
    localparam int WORDS = BYTES / WORD;
    localparam int SIZE = $clog2(WORD);
    localparam int QUEUE = MAX_OUTSTANDING + 4;  // room to see a violation before the channel stops
    localparam logic [1:0] OKAY = 2'd0, DECERR = 2'd3;

    logic [DATA_BITS-1:0] mem [WORDS]  /* verilator public_flat_rw */;

    int     latency            /* verilator public_flat_rw */;
    int     bandwidth          /* verilator public_flat_rw */;
    int     stall_ar           /* verilator public_flat_rw */;
    int     stall_r            /* verilator public_flat_rw */;
    int     stall_aw           /* verilator public_flat_rw */;
    int     stall_w            /* verilator public_flat_rw */;
    int     stall_b            /* verilator public_flat_rw */;
    longint err_addr           /* verilator public_flat_rw */;
    int     err_resp           /* verilator public_flat_rw */;  // 0: no fault
    int     dead_port          /* verilator public_flat_rw */;
    int     dead_after         /* verilator public_flat_rw */;  // negative: never
    int     dead_write_port    /* verilator public_flat_rw */;
    int     dead_writes_after  /* verilator public_flat_rw */;  // negative: never
    int     aw_after_w         /* verilator public_flat_rw */;
    int     seed;

    string  image_path, dump_path;
    longint image_base, window_bytes;
    longint dump_base          /* verilator public_flat_rw */;
    int     dump_bytes         /* verilator public_flat_rw */;

    // ---- settings and contents

    task automatic load_image;
        logic [DATA_BITS-1:0] big;
        int file, index, got;
        file = $fopen(image_path, "rb");
        if (file == 0) $fatal(1, "ddr: cannot open image %s", image_path);
        if (image_base < BASE || (image_base - BASE) % WORD != 0) $fatal(1, "ddr: bad image_base %h", image_base);
        index = int'((image_base - BASE) / WORD);
        forever begin
            big = '0;  // the first byte read is the highest of the word
            got = $fread(big, file);
            if (got == 0) break;
            if (index >= WORDS) $fatal(1, "ddr: image %s does not fit into %0d bytes", image_path, BYTES);
            mem[index] = {<<8{big}};
            index = index + 1;
        end
        $fclose(file);
    endtask

    task automatic dump_region;
        int file, first;
        logic [DATA_BITS-1:0] word;
        first = int'((dump_base - BASE) / WORD);
        if (dump_base < BASE || (dump_base - BASE) % WORD != 0 || dump_bytes % WORD != 0 || first + dump_bytes / WORD > WORDS)
            $fatal(1, "ddr: bad region to dump, %0d bytes at %h", dump_bytes, dump_base);
        file = $fopen(dump_path, "wb");
        if (file == 0) $fatal(1, "ddr: cannot write %s", dump_path);
        for (int i = 0; i < dump_bytes / WORD; i++) begin
            word = mem[first + i];
            for (int b = 0; b < WORD; b++) $fwrite(file, "%c", word[8*b+:8]);
        end
        $fclose(file);
    endtask

    initial begin
        if (!$value$plusargs("latency=%d", latency)) latency = 100;
        if (!$value$plusargs("bandwidth=%d", bandwidth)) bandwidth = 64;
        if (!$value$plusargs("stall_ar=%d", stall_ar)) stall_ar = 0;
        if (!$value$plusargs("stall_r=%d", stall_r)) stall_r = 0;
        if (!$value$plusargs("stall_aw=%d", stall_aw)) stall_aw = 0;
        if (!$value$plusargs("stall_w=%d", stall_w)) stall_w = 0;
        if (!$value$plusargs("stall_b=%d", stall_b)) stall_b = 0;
        if (!$value$plusargs("seed=%d", seed)) seed = 1;
        if (!$value$plusargs("err_addr=%h", err_addr)) err_addr = -1;
        if (!$value$plusargs("err_resp=%d", err_resp)) err_resp = 0;
        if (!$value$plusargs("dead_port=%d", dead_port)) dead_port = 0;
        if (!$value$plusargs("dead_after=%d", dead_after)) dead_after = -1;
        if (!$value$plusargs("dead_write_port=%d", dead_write_port)) dead_write_port = 0;
        if (!$value$plusargs("dead_writes_after=%d", dead_writes_after)) dead_writes_after = -1;
        if (!$value$plusargs("aw_after_w=%d", aw_after_w)) aw_after_w = 0;
        if (!$value$plusargs("image_base=%h", image_base)) image_base = BASE;
        if ($value$plusargs("image=%s", image_path)) load_image;
        if (!$value$plusargs("window_bytes=%d", window_bytes)) window_bytes = longint'(BYTES);
        if (!$value$plusargs("dump_base=%h", dump_base)) dump_base = BASE;
        if (!$value$plusargs("dump_bytes=%d", dump_bytes)) dump_bytes = BYTES;
        if (!$value$plusargs("dump=%s", dump_path)) dump_path = "";
    end

    logic dump_before;
    always_ff @(posedge clk) begin
        dump_before <= dump;
        if (dump && !dump_before && dump_path != "") dump_region;
    end

    // ---- bursts in flight

    typedef struct {
        int     word;     // index in the memory of the next beat
        int     left;     // beats after that one
        longint due;      // first cycle in which the answer may be loaded; FAR until the DRAM has got to it
        bit     outside;  // of the memory
    } burst_t;

    localparam longint FAR = 64'h7FFF_FFFF_FFFF_FFFF;
    localparam int GRANT = 2;  // cycles that asking the DRAM takes, and are a part of the latency

    longint     now;
    burst_t     reads [PORTS+1][QUEUE];
    int         read_head [PORTS+1], read_count [PORTS+1], read_total [PORTS+1];
    int         read_granted [PORTS+1];  // bursts, of those in the queue, that the DRAM has got to
    burst_t     writes [PORTS][QUEUE];
    int         write_head [PORTS], write_count [PORTS];
    logic [1:0] write_resp [PORTS];   // of the burst whose data come in
    int         burst_bytes [PORTS];  // that this burst has had
    longint     answer_due [PORTS][QUEUE];
    logic [1:0] answer_resp [PORTS][QUEUE];
    int         answer_head [PORTS], answer_count [PORTS], answer_total [PORTS];
    int         in_flight;   // bursts of all ports that are written and not answered: 0 spares the work for them
    int         write_first; // port whose beat is promised first
    int         write_share; // what writes are owed of a beat, in parts of those that want one
    int         readers;     // ports that had a beat to read in this cycle, if only for a lack of tokens not taken
    int         tokens;      // bytes that may still pass in this cycle
    int         first;       // port whose reads are served first in this cycle
    int         denied;      // first port whose beat found no tokens; -1: none

    // Registers behind the outputs. They change within the block below, the outputs after it.
    logic [PORTS:0] r_full, r_last, ar_open;
    logic [PORTS:0][1:0] r_resp;
    logic [PORTS-1:0] aw_open, w_open, b_full;
    logic [PORTS-1:0][1:0] b_resp;

    logic [PORTS:0] ask, granted, loaded;
    logic [PORTS:0][ADDR_BITS-1:0] ask_addr;
    logic [PORTS:0][8:0] ask_beats;
    logic [PORTS:0][15:0] granted_delay;
    logic [PORTS-1:0] wrote;
    logic [PORTS-1:0][ADDR_BITS-1:0] wrote_addr;
    logic [PORTS-1:0][15:0] wrote_bytes;
    logic dram_full, dram_on;

    dram #(.PORTS(PORTS), .ADDR_BITS(ADDR_BITS), .WORD(WORD), .QUEUE(QUEUE)) behind (
        .full(dram_full), .on(dram_on), .*
    );

    // What a channel offered and was not taken.
    logic [PORTS:0] ar_waits;
    logic [PORTS:0][ADDR_BITS+12:0] ar_held;
    logic [PORTS-1:0] aw_waits, w_waits;
    logic [PORTS-1:0][ADDR_BITS+12:0] aw_held;
    logic [PORTS-1:0][DATA_BITS+WORD:0] w_held;

    logic [47:0] written;  // `written_bytes`, to which several ports add
    logic [63:0] noise;

    function automatic bit pause(input int percent);  // xorshift64; costs nothing in channels that never pause
        if (percent <= 0) return 0;
        noise = noise ^ (noise << 13);
        noise = noise ^ (noise >> 7);
        noise = noise ^ (noise << 17);
        return noise[63:32] % 100 < 32'(percent);
    endfunction

    function automatic int after(input int index);
        return index == QUEUE - 1 ? 0 : index + 1;
    endfunction

    function automatic int place(input int head, input int count);
        return head + count >= QUEUE ? head + count - QUEUE : head + count;
    endfunction

    function automatic longint pipeline;  // cycles from an address to where the answer may be loaded
        return longint'(latency > 2 ? latency - 1 : 1);
    endfunction

    function automatic bit is_error(input int word);
        return err_resp != 0 && BASE + longint'(word) * WORD == (err_addr & ~longint'(WORD - 1));
    endfunction

    task automatic violate(input int code, input int port, input logic [ADDR_BITS-1:0] addr);
        if (viol == 0) begin
            viol_port <= 8'(port);
            viol_addr <= addr;
        end
        viol[code] <= 1'b1;
    endtask

    task automatic accept(
        input int port, input logic [ADDR_BITS-1:0] addr, input logic [7:0] len, input logic [2:0] size,
        input logic [1:0] kind, output burst_t burst
    );
        longint offset, bytes;
        offset = longint'(addr) - BASE;
        bytes = (longint'(len) + 1) * WORD;
        burst.outside = offset < 0 || offset + bytes > longint'(BYTES);
        burst.word = int'(offset >> SIZE);
        burst.left = int'(len);
        burst.due = now + pipeline();
        if (longint'(addr[11:0]) + bytes > 4096) violate(0, port, addr);
        if (burst.outside || offset + bytes > window_bytes) violate(1, port, addr);
        if (kind != 2'd1 || size != 3'(SIZE) || addr[SIZE-1:0] != 0) violate(5, port, addr);
    endtask

    // Loads the next beat of a port into its register, if one is due and the budget has room for it.
    task automatic serve(input int p);
        burst_t b;
        if (read_count[p] != 0 && !r_full[p]) begin
            b = reads[p][read_head[p]];
            if (now < b.due || p == dead_port && dead_after >= 0 && read_total[p] >= dead_after) return;
            readers = readers + 1;
            if (tokens < WORD && denied < 0) denied = p;
            if (tokens >= WORD && !pause(stall_r)) begin
                tokens = tokens - WORD;
                r_full[p] = 1;
                loaded[p] <= 1;
                r_last[p] = b.left == 0;
                r_resp[p] = b.outside ? DECERR : is_error(b.word) ? 2'(err_resp) : OKAY;
                if (b.outside) rdata[p] <= '0;
                else rdata[p] <= mem[b.word];
                read_bytes[p] <= read_bytes[p] + 48'(WORD);
                if (b.left == 0) begin
                    read_head[p] = after(read_head[p]);
                    read_count[p] = read_count[p] - 1;
                    if (dram_on) read_granted[p] = read_granted[p] - 1;
                    read_total[p] = read_total[p] + 1;
                end else begin
                    reads[p][read_head[p]].word = b.word + 1;
                    reads[p][read_head[p]].left = b.left - 1;
                end
            end
        end
    endtask

    // Takes a beat of write data of a port; the last one queues the response.
    task automatic take_beat(input int p);
        burst_t b;
        int last;
        b = writes[p][write_head[p]];
        tokens = tokens - WORD;
        burst_bytes[p] = burst_bytes[p] + WORD;
        if (b.outside) write_resp[p] = DECERR;
        else if (is_error(b.word)) write_resp[p] = 2'(err_resp);
        if (!b.outside) begin
            if (&wstrb[p]) mem[b.word] = wdata[p];
            else for (int i = 0; i < WORD; i++) if (wstrb[p][i]) mem[b.word][8*i+:8] = wdata[p][8*i+:8];
        end
        written = written + 48'($countones(wstrb[p]));
        if (wlast[p] != (b.left == 0)) violate(3, p, ADDR_BITS'(BASE + longint'(b.word) * WORD));
        if (b.left == 0) begin
            wrote[p] <= 1;
            wrote_addr[p] <= ADDR_BITS'(BASE + longint'(b.word) * WORD);
            wrote_bytes[p] <= 16'(burst_bytes[p]);
            burst_bytes[p] = 0;
            write_head[p] = after(write_head[p]);
            write_count[p] = write_count[p] - 1;
            last = place(answer_head[p], answer_count[p]);
            answer_due[p][last] = now + pipeline();
            answer_resp[p][last] = write_resp[p];
            answer_count[p] = answer_count[p] + 1;
            write_resp[p] = OKAY;
        end else begin
            writes[p][write_head[p]].word = b.word + 1;
            writes[p][write_head[p]].left = b.left - 1;
        end
    endtask

    // Loads the next response of a port into its register, if one is due.
    task automatic answer(input int p);
        if (!b_full[p] && answer_count[p] != 0 && now >= answer_due[p][answer_head[p]]
            && !(p == dead_write_port && dead_writes_after >= 0 && answer_total[p] >= dead_writes_after)
            && !pause(stall_b)) begin
            b_full[p] = 1;
            b_resp[p] = answer_resp[p][answer_head[p]];
        end
    endtask

    // Promises beats of the next cycle to ports that write: as many as their share of the budget. Those whose data wait
    // come first.
    task automatic promise;
        int budget, beats, writers, most, p, next;
        w_open = '0;
        if (dram_full) return;
        budget = tokens + bandwidth < bandwidth + WORD - 1 ? tokens + bandwidth : bandwidth + WORD - 1;
        beats = budget / WORD;
        writers = 0;
        for (int k = 0; k < PORTS; k++) if (write_count[k] != 0) writers = writers + 1;
        most = writers;
        if (writers != 0 && beats < writers + readers) begin
            write_share = write_share + beats * writers;
            most = write_share / (writers + readers);
            write_share = write_share - most * (writers + readers);
        end
        next = write_first;
        for (int pass = 0; pass < 2; pass++) for (int k = 0; k < PORTS; k++) if (most != 0) begin
            p = write_first + k >= PORTS ? write_first + k - PORTS : write_first + k;
            if (write_count[p] != 0 && wvalid[p] == (pass == 0) && !pause(stall_w)) begin
                w_open[p] = 1;
                most = most - 1;
                next = p == PORTS - 1 ? 0 : p + 1;
            end
        end
        write_first = next;
    endtask

    always_ff @(posedge clk) begin
        burst_t burst;
        ask <= '0;
        loaded <= '0;
        wrote <= '0;
        written = written_bytes;
        readers = 0;
        if (rst) begin
            now = 0;
            tokens = 0;
            first = 0;
            denied = -1;
            noise = 64'h9E3779B97F4A7C15 ^ (64'(seed) << 20) ^ 64'(seed);
            for (int p = 0; p <= PORTS; p++) begin
                read_head[p] = 0;
                read_count[p] = 0;
                read_total[p] = 0;
                read_granted[p] = 0;
            end
            for (int p = 0; p < PORTS; p++) begin
                write_head[p] = 0;
                write_count[p] = 0;
                write_resp[p] = OKAY;
                burst_bytes[p] = 0;
                answer_head[p] = 0;
                answer_count[p] = 0;
                answer_total[p] = 0;
            end
            in_flight = 0;
            write_first = 0;
            write_share = 0;
            r_full = '0;
            ar_open = '0;
            aw_open = '0;
            w_open = '0;
            b_full = '0;
            ar_waits = '0;
            aw_waits = '0;
            w_waits = '0;
            viol <= '0;
            read_bytes <= '0;
            written = '0;
        end else begin
            now = now + 1;
            tokens = tokens + bandwidth < bandwidth + WORD - 1 ? tokens + bandwidth : bandwidth + WORD - 1;

            // Offers that were not taken must still be there.
            for (int p = 0; p <= PORTS; p++) begin
                if (ar_waits[p] && (!arvalid[p] || ar_held[p] != {araddr[p], arlen[p], arsize[p], arburst[p]}))
                    violate(2, p, araddr[p]);
                ar_waits[p] = arvalid[p] && !ar_open[p];
                if (ar_waits[p]) ar_held[p] = {araddr[p], arlen[p], arsize[p], arburst[p]};
            end
            if ({awvalid, wvalid, aw_waits, w_waits} != 0) for (int p = 0; p < PORTS; p++) begin
                if (aw_waits[p] && (!awvalid[p] || aw_held[p] != {awaddr[p], awlen[p], awsize[p], awburst[p]}))
                    violate(2, p, awaddr[p]);
                aw_waits[p] = awvalid[p] && !aw_open[p];
                if (aw_waits[p]) aw_held[p] = {awaddr[p], awlen[p], awsize[p], awburst[p]};
                if (w_waits[p] && (!wvalid[p] || w_held[p] != {wdata[p], wstrb[p], wlast[p]})) violate(2, p, awaddr[p]);
                w_waits[p] = wvalid[p] && !w_open[p];
                if (w_waits[p]) w_held[p] = {wdata[p], wstrb[p], wlast[p]};
            end

            // What was transferred: the ready signals seen outside are those of the last cycle.
            for (int p = 0; p <= PORTS; p++) begin
                if (r_full[p] && rready[p]) r_full[p] = 0;
            end
            if (b_full != 0) for (int p = 0; p < PORTS; p++) if (b_full[p] && bready[p]) begin
                b_full[p] = 0;
                answer_head[p] = after(answer_head[p]);
                answer_count[p] = answer_count[p] - 1;
                answer_total[p] = answer_total[p] + 1;
                in_flight = in_flight - 1;
            end
            for (int p = 0; p <= PORTS; p++) if (granted[p]) begin
                reads[p][place(read_head[p], read_granted[p])].due = now + longint'(granted_delay[p]) + pipeline() - GRANT;
                read_granted[p] = read_granted[p] + 1;
            end
            if (w_open != 0) for (int p = 0; p < PORTS; p++) if (wvalid[p] && w_open[p]) take_beat(p);
            if (denied >= 0) first = denied;
            denied = -1;
            for (int p = 0; p <= PORTS; p++) if (p >= first) serve(p);
            for (int p = 0; p < PORTS; p++) if (p < first) serve(p);
            if (in_flight != 0) for (int p = 0; p < PORTS; p++) answer(p);

            // New bursts: after the answers, since the earliest answer comes a cycle later.
            for (int p = 0; p <= PORTS; p++) begin
                if (arvalid[p] && ar_open[p]) begin
                    accept(p, araddr[p], arlen[p], arsize[p], arburst[p], burst);
                    if (read_count[p] + 32'(r_full[p] && r_last[p]) >= MAX_OUTSTANDING) violate(4, p, araddr[p]);
                    if (dram_on) burst.due = FAR;
                    ask[p] <= 1;
                    ask_addr[p] <= araddr[p];
                    ask_beats[p] <= 9'(arlen[p]) + 9'd1;
                    reads[p][place(read_head[p], read_count[p])] = burst;
                    read_count[p] = read_count[p] + 1;
                end
                ar_open[p] = read_count[p] < QUEUE && !pause(stall_ar);
            end
            if ((awvalid & aw_open) != 0) for (int p = 0; p < PORTS; p++) if (awvalid[p] && aw_open[p]) begin
                accept(p, awaddr[p], awlen[p], awsize[p], awburst[p], burst);
                if (write_count[p] + answer_count[p] >= MAX_OUTSTANDING) violate(4, p, awaddr[p]);
                writes[p][place(write_head[p], write_count[p])] = burst;
                write_count[p] = write_count[p] + 1;
                in_flight = in_flight + 1;
            end
            aw_open = '1;
            if (in_flight != 0 || aw_after_w != 0 || stall_aw > 0) for (int p = 0; p < PORTS; p++)
                aw_open[p] = write_count[p] + answer_count[p] < QUEUE && (aw_after_w == 0 || w_waits[p]) && !pause(stall_aw);
            if (in_flight != 0) promise;
            else w_open = '0;
        end
        written_bytes <= written;
        arready <= ar_open;
        rvalid <= r_full;
        rlast <= r_last;
        rresp <= r_resp;
        awready <= aw_open;
        wready <= w_open;
        bvalid <= b_full;
        bresp <= b_resp;
    end
endmodule
