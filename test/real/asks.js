// Use an application as Node programs do, by an http.Agent that keeps its connections.
//
//     node asks.js URL UPLOAD      an application as on_flask.py, and the large file
//
// Exit status 0: all was as it should be.
'use strict'
const assert = require('assert')
const crypto = require('crypto')
const fs = require('fs')
const http = require('http')

const [url, upload] = process.argv.slice(2)
const agent = new http.Agent({ keepAlive: true, maxSockets: 4 })

// Sends what `feed` writes, and resolves to the response with its body.
function ask(method, path, headers = {}, feed = (request) => request.end()) {
    return new Promise((resolve, reject) => {
        const request = http.request(url + path, { method, agent, headers, timeout: 20000 }, (response) => {
            const blocks = [], port = response.socket.localPort
            response.on('data', (block) => blocks.push(block))
            response.on('error', reject)
            response.on('end', () => {
                const { statusCode: status, headers: fields } = response
                resolve({ status, fields, port, body: Buffer.concat(blocks) })
            })
        })
        request.on('error', reject)
        request.on('timeout', () => request.destroy(new Error('no answer in 20 s')))
        feed(request)
    })
}

async function keepsConnections() {
    const answers = await Promise.all(Array.from({ length: 200 }, () => ask('GET', '/said')))
    assert(answers.every(({ status, body }) => status === 200 && String(body) === 'nothing'))
    assert.strictEqual(new Set(answers.map(({ port }) => port)).size, 4)
}

async function sendsForm() {
    const fields = new URLSearchParams({ name: 'Zoë', note: 'a&b=c +d%' }).toString()
    const headers = { 'Content-Type': 'application/x-www-form-urlencoded', 'Content-Length': fields.length }
    const sent = await ask('POST', '/form', headers, (request) => request.end(fields))
    assert.strictEqual(sent.status, 303)
    const cookie = sent.fields['set-cookie'][0].split(';')[0]
    assert.strictEqual(String((await ask('GET', sent.fields.location, { cookie })).body), 'Zoë: a&b=c +d%')
}

async function sendsLargeFile() {
    const content = fs.readFileSync(upload)
    const digest = crypto.createHash('sha256').update(content).digest('hex')
    const chunked = (request) => fs.createReadStream(upload).pipe(request)
    assert.strictEqual(String((await ask('PUT', '/upload', {}, chunked)).body), digest)
    const expects = { Expect: '100-continue', 'Content-Length': content.length }
    const waiting = (request) => request.on('continue', () => request.end(content)).flushHeaders()
    assert.strictEqual(String((await ask('PUT', '/upload', expects, waiting)).body), digest)
    assert((await ask('GET', '/file')).body.equals(content))
}

// Gives up a download in the middle, and is answered again.
async function givesUp() {
    await new Promise((resolve, reject) => {
        const request = http.get(url + '/file', { agent }, (response) => response.once('data', () => response.destroy()))
        request.on('close', resolve)
        request.on('error', reject)
    })
    assert.strictEqual((await ask('GET', '/said')).status, 200)
}

async function main() {
    await keepsConnections()
    await sendsForm()
    await sendsLargeFile()
    await givesUp()
    agent.destroy()
}

main().catch((error) => {
    console.error(error)
    process.exit(1)
})
