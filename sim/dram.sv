// The DRAM behind the ports of ddr.sv: when its controller gets to each burst. Bandwidth, refresh, rows, read and write.
//
// One data bus moves one burst at a time, whole. Ports queue what they read; what they write is posted, and written in
// batches. Of the bursts at the heads of the queues the one goes first that can start first (its row is open, or its
// bank has been left alone for long enough); of equals the next port in turn. A burst is passed over PASSES times at
// most. Rows stay open until another row of their bank is wanted, or a refresh. Addresses are row, bank, column from
// the top (Vivado's ROW_BANK_COL). With equal plusargs the same requests get the same times: the seed only says when the
// first refresh comes.
//
// Times are in ticks of 1/1,024 cycle. Plusargs, read once; the variables of the same names may be written while it runs:
//   +dram_rate=N       bytes in 1,024 cycles; 0 (the default): no DRAM, nothing is granted
//   +dram_refresh=N    ticks between refreshes; 0: none      +dram_recovery=N  ticks that one takes; all rows are closed
//   +dram_row=N        ticks from the last transfer of a bank to the first of another of its rows
//   +dram_row_bytes=N  in one row of one bank                 +dram_banks=N     at most 64
//   +dram_to_write=N   ticks that are lost between reading and writing, +dram_to_read=N between writing and reading
//   +dram_ahead=N      beats of a port that may be between the DRAM and the fabric: on their way, or in the port's FIFO
//   +dram_posted=N     bytes that are collected before they are written, while somebody reads
module dram #(
    parameter int PORTS = 4,     // the last of PORTS + 1 only reads
    parameter int ADDR_BITS = 40,
    parameter int WORD = 16,     // bytes of a beat
    parameter int QUEUE = 20     // bursts that a port may have in flight
) (
    input  logic                             clk,
    input  logic                             rst,
    input  int                               seed,
    input  logic [PORTS:0]                   ask,           // a burst to read: at this address, so many beats
    input  logic [PORTS:0][ADDR_BITS-1:0]    ask_addr,
    input  logic [PORTS:0][8:0]              ask_beats,
    input  logic [PORTS:0]                   loaded,        // a beat of the port reached the fabric
    input  logic [PORTS-1:0]                 wrote,         // a burst whose last beat came
    input  logic [PORTS-1:0][ADDR_BITS-1:0]  wrote_addr,
    input  logic [PORTS-1:0][15:0]           wrote_bytes,
    output logic [PORTS:0]                   granted,       // the oldest burst of the port that was not granted yet
    output logic [PORTS:0][15:0]             granted_delay, // cycles until it may start, beside the latency
    output logic                             full,          // of posted writes
    output logic                             on             // there is a DRAM
);
    localparam int TICKS = 1024, PASSES = 4, MOST_BANKS = 64, MOST_POSTED = 4096;

    longint dram_rate      /* verilator public_flat_rw */;
    longint dram_refresh   /* verilator public_flat_rw */;
    longint dram_recovery  /* verilator public_flat_rw */;
    longint dram_row       /* verilator public_flat_rw */;
    longint dram_row_bytes /* verilator public_flat_rw */;
    longint dram_banks     /* verilator public_flat_rw */;
    longint dram_to_write  /* verilator public_flat_rw */;
    longint dram_to_read   /* verilator public_flat_rw */;
    longint dram_posted    /* verilator public_flat_rw */;
    longint dram_ahead     /* verilator public_flat_rw */;

    initial begin
        if (!$value$plusargs("dram_rate=%d", dram_rate)) dram_rate = 0;
        if (!$value$plusargs("dram_refresh=%d", dram_refresh)) dram_refresh = 0;
        if (!$value$plusargs("dram_recovery=%d", dram_recovery)) dram_recovery = 0;
        if (!$value$plusargs("dram_row=%d", dram_row)) dram_row = 0;
        if (!$value$plusargs("dram_row_bytes=%d", dram_row_bytes)) dram_row_bytes = 8192;
        if (!$value$plusargs("dram_banks=%d", dram_banks)) dram_banks = 8;
        if (!$value$plusargs("dram_to_write=%d", dram_to_write)) dram_to_write = 0;
        if (!$value$plusargs("dram_to_read=%d", dram_to_read)) dram_to_read = 0;
        if (!$value$plusargs("dram_posted=%d", dram_posted)) dram_posted = 512;
        if (!$value$plusargs("dram_ahead=%d", dram_ahead)) dram_ahead = 128;
        if (dram_banks < 1 || dram_banks > MOST_BANKS || dram_row_bytes < 1) $fatal(1, "dram: bad banks or rows");
    end

    assign on = dram_rate != 0;

    longint now, busy, next_refresh;     // ticks; `busy`: until when the bus is taken
    longint row_of [MOST_BANKS];         // that is open; -1: none
    longint free_at [MOST_BANKS];        // earliest transfer of another row
    longint addr_of [PORTS+1][QUEUE];
    int     beats_of [PORTS+1][QUEUE];
    int     head [PORTS+1], count [PORTS+1], passed [PORTS+1];
    int     ahead [PORTS+1];             // beats between the DRAM and the fabric
    int     turn;                        // port that goes first among equals
    longint posted, posted_addr;         // bytes; address of the last of them
    bit     writing;                     // what the bus did last

    function automatic int bank_of(input longint addr);
        return int'((addr / dram_row_bytes) % dram_banks);
    endfunction

    function automatic longint row_at(input longint addr);
        return addr / (dram_row_bytes * dram_banks);
    endfunction

    // When a transfer at an address could start.
    function automatic longint start_of(input longint addr, input bit write);
        longint start;
        start = busy;
        if (write != writing) start = start + (write ? dram_to_write : dram_to_read);
        if (row_of[bank_of(addr)] != row_at(addr) && free_at[bank_of(addr)] > start) start = free_at[bank_of(addr)];
        return start;
    endfunction

    task automatic move(input longint addr, input bit write, input longint bytes);
        busy = start_of(addr, write) + bytes * TICKS * TICKS / dram_rate;
        row_of[bank_of(addr)] = row_at(addr);
        free_at[bank_of(addr)] = busy + dram_row;
        writing = write;
    endtask

    task automatic refresh_all;
        busy = (busy > next_refresh ? busy : next_refresh) + dram_recovery;
        next_refresh = next_refresh + dram_refresh;
        for (int b = 0; b < MOST_BANKS; b++) begin
            row_of[b] = -1;
            free_at[b] = busy + dram_row / 2;  // nothing has to be closed
        end
    endtask

    // The port whose burst goes next; -1 if none waits.
    function automatic int choose;
        longint best, start;
        int p;
        choose = -1;
        best = 0;
        for (int k = 0; k <= PORTS; k++) begin
            p = turn + k > PORTS ? turn + k - PORTS - 1 : turn + k;
            if (count[p] != 0 && (ahead[p] == 0 || ahead[p] + beats_of[p][head[p]] <= dram_ahead)) begin
                start = passed[p] >= PASSES ? -1 : start_of(addr_of[p][head[p]], 0);
                if (choose < 0 || start < best) begin
                    choose = p;
                    best = start;
                end
            end
        end
    endfunction

    task automatic grant(input int p);
        longint start, wait_ticks, late;
        start = start_of(addr_of[p][head[p]], 0);
        move(addr_of[p][head[p]], 0, longint'(beats_of[p][head[p]]) * WORD);
        late = (busy - start) / TICKS - longint'(beats_of[p][head[p]]);  // a slow bus holds up the last beats
        wait_ticks = start - now;
        granted[p] <= 1;
        granted_delay[p] <= 16'(wait_ticks / TICKS + (late > 0 ? late : 0));
        ahead[p] = ahead[p] + beats_of[p][head[p]];
        head[p] = head[p] == QUEUE - 1 ? 0 : head[p] + 1;
        count[p] = count[p] - 1;
        for (int k = 0; k <= PORTS; k++) passed[k] = k == p || count[k] == 0 ? 0 : passed[k] + 1;
        turn = p == PORTS ? 0 : p + 1;
    endtask

    always_ff @(posedge clk) begin
        int next;
        bit [PORTS:0] done;
        granted <= '0;
        if (rst) begin
            now = 0;
            busy = 0;
            // xorshift, as for the stalls of ddr.sv: any phase is as likely
            next_refresh = dram_refresh == 0 ? 0 : longint'((64'(seed) * 64'h9E3779B97F4A7C15 >> 33) % 64'(dram_refresh));
            for (int b = 0; b < MOST_BANKS; b++) begin
                row_of[b] = -1;
                free_at[b] = 0;
            end
            for (int p = 0; p <= PORTS; p++) begin
                head[p] = 0;
                count[p] = 0;
                passed[p] = 0;
                ahead[p] = 0;
            end
            turn = 0;
            posted = 0;
            posted_addr = 0;
            writing = 0;
            full <= 0;
        end else if (on) begin
            now = now + TICKS;
            for (int p = 0; p <= PORTS; p++) if (loaded[p]) ahead[p] = ahead[p] - 1;
            for (int p = 0; p <= PORTS; p++) if (ask[p]) begin
                next = head[p] + count[p] >= QUEUE ? head[p] + count[p] - QUEUE : head[p] + count[p];
                addr_of[p][next] = longint'(ask_addr[p]);
                beats_of[p][next] = int'(ask_beats[p]);
                count[p] = count[p] + 1;
            end
            if (wrote != 0) for (int p = 0; p < PORTS; p++) if (wrote[p]) begin
                posted = posted + longint'(wrote_bytes[p]);
                posted_addr = longint'(wrote_addr[p]);
            end
            if (busy < now) busy = now;
            if (dram_refresh != 0 && now >= next_refresh) refresh_all;
            done = '0;
            while (busy < now + TICKS) begin
                next = choose();
                if (posted >= dram_posted || (next < 0 && posted != 0)) begin
                    move(posted_addr, 1, posted);
                    posted = 0;
                end else if (next >= 0 && !done[next]) begin
                    grant(next);
                    done[next] = 1;
                end else break;
            end
            full <= posted >= MOST_POSTED;
        end
    end
endmodule
